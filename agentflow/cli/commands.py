"""The commands of the launcher and their arguments; the work is done in the modules beside this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentflow.cli.arguments import (
    AsJson,
    Comment,
    File,
    Migrate,
    Model,
    NoInput,
    OfWorkflow,
    Options,
    RunName,
    Statuses,
)
from agentflow.cli.indexing import index
from agentflow.cli.output import DONE, FAILED, INTERRUPTED, WRONG_USE, exit_code, hush, print_error
from agentflow.cli.trails import audit_export, trace
from agentflow.exceptions import AgentflowError
from agentflow.version import VERSION

# Typer carries its own copy of Click; this is the base of what it raises for a wrong call, wherever that copy lies.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="agentflow",
    help="Orchestration for autonomous agents: checked before it runs, bounded while it runs, provable after.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(index)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentflow {VERSION}")
        raise typer.Exit


@app.callback()
def launcher(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Orchestration for autonomous agents: checked before it runs, bounded while it runs, provable after."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR")], as_json: AsJson = False) -> None:
    """Write a small project: workflows, tools and a place for traces."""
    from agentflow.cli.starting import write_project

    raise typer.Exit(write_project(folder, as_json=as_json))


@app.command()
def check(
    workflow: Annotated[str | None, typer.Argument(metavar="WORKFLOW")] = None,
    workflow_file: File = None,
    model: Model = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings as well.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the servers of models when these are shut down.")
    ] = False,
    sarif: Annotated[
        Path | None, typer.Option(help="Write the problems to this file, as SARIF 2.1.0.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check one workflow, or all of the project, without running anything: problems, the worst case, what could leak."""
    from agentflow.cli.checking import Wanted, check_workflows

    wanted = Wanted(as_json=as_json, sarif=sarif, model=model, is_strict=strict, is_online=online)
    raise typer.Exit(check_workflows(workflow, workflow_file, wanted))


@app.command()
def spec(
    workflow: Annotated[str | None, typer.Argument(metavar="WORKFLOW")] = None,
    workflow_file: File = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write it to.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of workflow files instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a workflow as YAML, as it could stand in `workflows/`."""
    from agentflow.cli.specifying import print_schema, print_spec

    if schema:
        raise typer.Exit(print_schema())

    raise typer.Exit(print_spec(workflow, workflow_file, output, as_json=as_json))


@app.command()
def draw(
    workflow: Annotated[str | None, typer.Argument(metavar="WORKFLOW")] = None,
    workflow_file: File = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file ending in .mmd, .svg or .png; else Mermaid is printed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a workflow as Mermaid, SVG or PNG."""
    from agentflow.cli.picturing import draw_workflow

    raise typer.Exit(draw_workflow(workflow, workflow_file, output, as_json=as_json))


@app.command()
def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKFLOW [KEY=VALUE]...", help="The workflow, then its input."),
    ] = None,
    input_file: Annotated[
        str | None, typer.Option("--input", help="A JSON file with the input; `-` reads standard input.")
    ] = None,
    model: Model = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="A name for the run; made up if not given.")
    ] = None,
    workflow_file: File = None,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Run a workflow: agentflow run research question="How many days of leave do I have?"."""
    from agentflow.cli.running import run_workflow

    options = Options(as_json=as_json, model=model, interactive=not no_input)
    raise typer.Exit(run_workflow(words or [], workflow_file, input_file, run_id, options))


@app.command()
def resume(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Each run that was cut off or interrupted, or that is due.")
    ] = False,
    parallel: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="With `--all`: how many at a time; 4 if not given.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="LIMIT=NUMBER", help="Another limit: `usd=2`, or `STEP.tokens=9000` of a step."),
    ] = None,
    migrate: Migrate = False,
    model: Model = None,
    workflow_file: File = None,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Take up a run that was interrupted, failed, or cut off with its process; or, with `--all`, each such run."""
    from agentflow.cli import resuming

    options = Options(as_json=as_json, model=model, interactive=not no_input)
    alone = {"--budget": budget, "--migrate": migrate, "--workflow-file": workflow_file}
    if resuming.is_for_all(run, every=every, parallel=parallel, alone=[n for n, v in alone.items() if v]):
        from agentflow.cli.sweeping import resume_all

        raise typer.Exit(resume_all(parallel, options))

    raise typer.Exit(resuming.resume_run(run or "", workflow_file, budget or [], options, migrate=migrate))


@app.command()
def approve(
    run: RunName,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Which one, where several wait: a step, its activation, a tool, or the digest's start.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve.")] = False,
    no: Annotated[bool, typer.Option("--no", help="Refuse.")] = False,
    comment: Comment = "",
    model: Model = None,
    workflow_file: File = None,
    as_json: AsJson = False,
) -> None:
    """Answer what a run waits for, and let it go on."""
    from agentflow.cli.answering import approve_run

    options = Options(as_json=as_json, model=model, interactive=False)
    raise typer.Exit(approve_run(run, name, yes if yes != no else None, comment, workflow_file, options))


@app.command()
def resolve(
    run: RunName,
    effect: Annotated[
        str | None,
        typer.Argument(metavar="EFFECT", help="Which one, where several are in doubt: a step or a tool."),
    ] = None,
    done: Annotated[
        str | None, typer.Option(metavar="RESULT", help="It was done, with this result: JSON, or else text.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="It was not done: do it now.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="It is to count as failed.")] = False,
    comment: Comment = "",
    model: Model = None,
    workflow_file: File = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of an effect in doubt, and let the run go on."""
    from agentflow.cli.answering import resolve_run, verdict_of

    options = Options(as_json=as_json, model=model, interactive=False)
    verdict = verdict_of(done, retry=retry, fail=fail)
    raise typer.Exit(resolve_run(run, effect, verdict, done, comment, workflow_file, options))


@app.command()
def cancel(
    run: RunName,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the trail.")] = "cancelled",
    as_json: AsJson = False,
) -> None:
    """End a run for good, whoever drives it."""
    from agentflow.cli.cancelling import cancel_run

    raise typer.Exit(cancel_run(run, reason, as_json=as_json))


@app.command()
def replay(run: RunName, workflow_file: File = None, as_json: AsJson = False) -> None:
    """Execute a run again from its record, with no model, tool or network; exits with 1 where it goes another way."""
    from agentflow.cli.replaying import replay_run

    raise typer.Exit(replay_run(run, workflow_file, as_json=as_json))


@app.command()
def fork(
    run: RunName,
    at: Annotated[
        str, typer.Option("--at", metavar="STEP", help="Where it goes off: a step, or a visit as `write#2`.")
    ],
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PLACE=VALUE",
            help='Another value: `input.question="..."` or `plan.output[0].text="..."`.',
        ),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="A name for the new run; made up if not given.")
    ] = None,
    migrate: Migrate = False,
    model: Model = None,
    workflow_file: File = None,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Start a new run with what an old one did before a step, and do that step and all after it anew."""
    from agentflow.app import Fork
    from agentflow.cli.forking import fork_run, values_of

    options = Options(as_json=as_json, model=model, interactive=not no_input)
    wanted = Fork(at=at, values=values_of(values or ()), run_id=run_id)
    raise typer.Exit(fork_run(run, wanted, workflow_file, options, migrate=migrate))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one's.")],
    as_json: AsJson = False,
) -> None:
    """Show where two runs part: steps, calls, results, tokens, money, time; exits with 1 where they do."""
    from agentflow.cli.diffing import diff_runs

    raise typer.Exit(diff_runs(first, second, as_json=as_json))


@app.command()
def freeze(
    run: RunName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The test's file; without it, the test is printed."),
    ] = None,
    workflow_file: File = None,
    as_json: AsJson = False,
) -> None:
    """Print a test, for pytest, that a run goes the same way again: agentflow freeze RUN > tests/test_x.py."""
    from agentflow.cli.freezing import freeze_run

    raise typer.Exit(freeze_run(run, workflow_file, output, as_json=as_json))


@app.command()
def runs(
    status: Statuses = None,
    workflow: OfWorkflow = "",
    since: Annotated[
        str | None, typer.Option(metavar="2h", help="Changed in the last `2h` or `3d`, or since a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="3d", help="Changed before that.")] = None,
    limit: Annotated[int, typer.Option(help="How many to list.")] = 20,
    pruned: Annotated[
        bool, typer.Option("--pruned", help="Those that were pruned: their heads are kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs in the journal, the newest first."""
    from agentflow.cli.listing import Choice, list_runs

    choice = Choice.of(status or (), workflow, since=since, until=until)
    raise typer.Exit(list_runs(choice, limit, pruned=pruned, as_json=as_json))


@app.command()
def stats(
    status: Statuses = None,
    workflow: OfWorkflow = "",
    since: Annotated[
        str | None, typer.Option(metavar="2h", help="Changed in the last `2h` or `3d`, or since a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="3d", help="Changed before that.")] = None,
    most: Annotated[int, typer.Option(help="How many rows of each table.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Figures over many runs: success, p50 and p95, tokens, money; by workflow, step, tool and model."""
    from agentflow.cli.listing import Choice
    from agentflow.cli.stats import print_stats

    choice = Choice.of(status or (), workflow, since=since, until=until)
    raise typer.Exit(print_stats(choice, most, as_json=as_json))


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="30d", help="Not changed since then: `30d`, or a date.")
    ],
    status: Statuses = None,
    workflow: OfWorkflow = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the events and files of old runs out; their heads are kept."""
    from agentflow.cli.pruning import prune_runs

    raise typer.Exit(
        prune_runs(older_than, status or (), workflow, is_dry=dry_run, is_sure=yes, as_json=as_json)
    )


@app.command()
def show(
    run: RunName,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Watch a run that goes on, until it ends; Ctrl-C leaves it alone."
        ),
    ] = False,
    step: Annotated[
        str,
        typer.Option(metavar="STEP", help="Only this step or activation, with what went in and came out."),
    ] = "",
    result: Annotated[
        str, typer.Option(metavar="OPERATION", help="Print what an operation gave: `plan#1/1.3`, or `1.3`.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show a run: what went wrong, its tree with time bars, the planner's reasoning, who approved what."""
    if follow:
        if step or result or as_json:
            raise typer.BadParameter("`--follow` goes alone")

        from agentflow.cli.following import follow_run

        raise typer.Exit(follow_run(run))

    from agentflow.cli.showing import Wanted, show_run

    raise typer.Exit(show_run(run, Wanted(step=step, result=result, as_json=as_json)))


@app.command()
def report(
    run: RunName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; RUN.html if not given.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also with keys and addresses that were said in the run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run as one HTML file that opens without a server: graph, waterfall, inputs and outputs, costs."""
    from agentflow.cli.paging import report_run

    raise typer.Exit(report_run(run, output, is_full=full, as_json=as_json))


@app.command()
def claims(
    run: RunName,
    step: Annotated[
        str,
        typer.Option(metavar="STEP", help="The answers of this step, or activation, instead of the run's."),
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 on warnings as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold a run's answers against its record: what they cite, quote, and say was done."""
    from agentflow.cli.claiming import check_run

    raise typer.Exit(check_run(run, step, is_strict=strict, as_json=as_json))


tools = typer.Typer(
    help="The tools of the project: list them, or try one by hand.", invoke_without_command=True
)
app.add_typer(tools, name="tools")


@tools.callback()
def tools_here(context: typer.Context, as_json: AsJson = False) -> None:
    """List the tools of the project with their labels and limits."""
    from agentflow.cli.tooling import list_tools

    if context.invoked_subcommand is None:
        raise typer.Exit(list_tools(None, as_json=as_json))


@tools.command("list")
def tools_list(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None, as_json: AsJson = False
) -> None:
    """List the tools of the project, or show all of one: what it does, its labels, limits and arguments."""
    from agentflow.cli.tooling import list_tools

    raise typer.Exit(list_tools(name, as_json=as_json))


@tools.command("call")
def tools_call(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    words: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    input_file: Annotated[
        str | None, typer.Option("--input", help="A JSON file with the arguments; `-` is standard input.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it writes.")] = False,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Call a tool once, by hand, and show what it gives; nothing of it is kept in the journal."""
    from agentflow.cli.tooling import Trial, call_tool

    trial = Trial(name=name, words=words or (), input_file=input_file, is_sure=yes)
    raise typer.Exit(call_tool(trial, Options(as_json=as_json, interactive=not no_input)))


audit = typer.Typer(help="The audit trail: prove that it is what was written.", no_args_is_help=True)
app.add_typer(audit, name="audit")


@audit.command("verify")
def audit_verify(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run's id; see `agentflow runs`.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Each run of the journal, or of the file.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="Spans in a file of OTLP/JSON, instead of the journal.")
    ] = None,
    jaeger: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Spans in the Jaeger whose page is there, instead of the journal."),
    ] = None,
    heads: Annotated[
        Path | None, typer.Option(help="The file of kept heads to compare with; else that of the settings.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The public key that the heads must be signed with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a trail is what was written: ends with 0 where it is, with 4 where it was forged or is incomplete."""
    from agentflow.cli.auditing import Question, verify

    question = Question(run=run, is_for_all=every, file=file, jaeger=jaeger, heads=heads, key=key)
    raise typer.Exit(verify(question, as_json=as_json))


@audit.command("head")
def audit_head(run: RunName, as_json: AsJson = False) -> None:
    """Print the head of a run: the hash that stands for all of its events."""
    from agentflow.cli.signing import print_head

    raise typer.Exit(print_head(run, as_json=as_json))


@audit.command("sign")
def audit_sign(run: RunName, as_json: AsJson = False) -> None:
    """Add the head of a run to the file of kept heads, signed where a key is set."""
    from agentflow.cli.signing import sign_head

    raise typer.Exit(sign_head(run, as_json=as_json))


@audit.command("keygen")
def audit_keygen(
    to: Annotated[
        Path,
        typer.Option("--out", help="Where to write it; the public key goes to the same name and `.pub`."),
    ] = Path("agentflow-audit.pem"),
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key to sign heads of runs with."""
    from agentflow.cli.signing import write_key

    raise typer.Exit(write_key(to, as_json=as_json))


audit.command("export")(audit_export)
app.add_typer(trace, name="trace")


def run_launcher() -> None:
    """Run the command line; errors are told in words, never as a traceback."""
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except AgentflowError as error:
        print_error(error, as_json=as_json)
        code = exit_code(error)
    except UsageError as error:
        if not str(error):  # the help was asked for by giving no command
            sys.exit(WRONG_USE)

        # As Click words it, with the name of the option; the error's own text leaves that out.
        text = str(getattr(error, "format_message", error.__str__)())
        print_error(AgentflowError(text, hint="see `agentflow --help`"), as_json=as_json)
        code = WRONG_USE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: that is its right.
        hush(sys.stdout)
        hush(sys.stderr)
        code = DONE

    except Exception as error:  # a fault of ours: said in a line, with the way to the rest of it
        if os.environ.get("AGENTFLOW_DEBUG"):
            raise

        fault = AgentflowError(
            f"unexpected {type(error).__name__}: {error}", hint="AGENTFLOW_DEBUG=1 shows where"
        )
        print_error(fault, as_json=as_json)
        code = FAILED

    sys.exit(code if isinstance(code, int) else 0)
