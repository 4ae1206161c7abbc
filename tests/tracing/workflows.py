"""Small workflows for the tests of tracing: a map in a sub-workflow before an approval, a loop over a gather, mapped
sub-workflows."""

from __future__ import annotations

from agentflow import Approval, Context, Retry, Workflow, each, gather, operation, step

QUICK = Retry(times=2, delay=0.001, jitter=0)


@step
async def split(text: str) -> list[str]:
    return text.split()


@step(retries=QUICK)
async def measure(word: str, ctx: Context) -> int:
    async with operation("retrieval", "lexicon", request={"query": word}, top_k=1) as record:
        record.result = [{"source": "lexicon", "place": word, "score": 0.5, "text": word}]

    if word == "flaky" and ctx.attempt == 1:
        raise ValueError("it flickered")

    return len(word)


@step
async def total(lengths: list[int]) -> int:
    return sum(lengths)


@step
async def begin(text: str) -> str:
    return text


counting = Workflow("counting", start=split, end=total, edges=[split >> each(measure) >> total])
approve = Approval("approve", of=int, prompt="Is it right?")
whole = Workflow("whole", start=begin, end=approve, edges=[begin >> counting >> approve])


@step
async def even(number: int) -> bool:
    return number % 2 == 0


@step
async def doubled(number: int) -> int:
    return 2 * number


@step
async def joined(both: tuple[bool, int]) -> int | str:
    return both[1] if both[0] or both[1] > 20 else str(both[1])


@step
async def again(text: str) -> int:
    return int(text) + 1


@step
async def ends(number: int) -> int:
    return number


@step
async def given(number: int) -> int:
    return number


branching = Workflow(
    "branching",
    start=given,
    end=ends,
    edges=[
        given >> gather(even, doubled) >> joined,
        joined.on(str, at_most=9) >> again >> given,
        joined.on(int) >> ends,
    ],
)
nested = Workflow(
    "nested",
    start=split,
    end=total,
    edges=[split >> each(Workflow("word", start=measure, end=measure), name="word") >> total],
)
