"""Names of operations and attributes: OpenTelemetry's GenAI conventions, and our own under `agentflow.`."""

from __future__ import annotations

# The line of the GenAI conventions' own repository (open-telemetry/semantic-conventions-genai). Everything in it is
# in development: when it moves, it moves here.
CONVENTION = "gen_ai/0.1.0"

# Values of `gen_ai.operation.name`, which also begin the spans' names.
INVOKE_WORKFLOW = "invoke_workflow"
INVOKE_AGENT = "invoke_agent"
PLAN = "plan"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
RETRIEVAL = "retrieval"
EMBEDDINGS = "embeddings"

OPERATION_NAME = "gen_ai.operation.name"
CONVERSATION_ID = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
AGENT_DESCRIPTION = "gen_ai.agent.description"
# Replaced by AGENT_NAME in 0.1.0; what reads the line before it still looks here.
WORKFLOW_NAME = "gen_ai.workflow.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
OUTPUT_TYPE = "gen_ai.output.type"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
DATA_SOURCE_ID = "gen_ai.data_source.id"
RETRIEVAL_QUERY = "gen_ai.retrieval.query.text"
RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k"
RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents"
EMBEDDINGS_DIMENSION = "gen_ai.embeddings.dimension.count"

# General conventions.
ERROR_TYPE = "error.type"
EXCEPTION = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
URL_FULL = "url.full"
SERVICE_NAME = "service.name"
SERVICE_INSTANCE_ID = "service.instance.id"

# There is no convention for graphs, approvals and journals: these names are our own.
OWN = "agentflow."
CONVENTION_VERSION = "agentflow.convention"
ERROR_HINT = "agentflow.error.hint"
INTERRUPTED = "interrupted"
STILL_OPEN = "agentflow.open"
# What was let go because only a person can say how it goes on: no error.
SPAN_STATUS = "agentflow.status"
WAITING = "waiting"
LINK = "agentflow.link"
FORK = "agentflow.fork."

RUN_STATUS = "agentflow.run.status"
RUN_MODEL = "agentflow.run.model"
RUN_VERSION = "agentflow.run.version"
RUN_ATTRIBUTE = "agentflow.run.attribute."
RUN_TOTAL = "agentflow.run.total."
# The most that a run can do, by what; and why, under the same name and `.why`.
BOUND = "agentflow.bound."
# Flows of content that the definition allows, each with its reason.
ALLOWED = "agentflow.workflow.allowed"
RUN_RESUMES = "agentflow.run.resumes"
RUN_RESUMED = "agentflow.run.resumed"
RUN_INTERRUPTED = "agentflow.run.interrupted"
RUN_REASON = "agentflow.run.reason"
RUN_PAUSED = "agentflow.run.paused"
RUN_MIGRATED = "agentflow.run.migrated"
RUN_CHANGES = "agentflow.run.changes"
RUN_BUDGET = "agentflow.run.budget."
RUN_CANCELLED_BY = "agentflow.run.cancelled_by"
WORKFLOW_DIGEST = "agentflow.workflow.digest"
# The graph, an edge a line: `check -> write on Revision, at most 3`.
WORKFLOW_GRAPH = "agentflow.workflow.graph"

STEP_ID = "agentflow.step.id"
STEP_KIND = "agentflow.step.kind"
STEP_ACTIVATION = "agentflow.step.activation"
STEP_VISIT = "agentflow.step.visit"
STEP_ATTEMPT = "agentflow.step.attempt"
STEP_ITEM = "agentflow.step.item"
STEP_INPUT = "agentflow.step.input"
STEP_OUTPUT = "agentflow.step.output"
STEP_CASE = "agentflow.step.case"
STEP_FINAL = "agentflow.step.final"
MAP_COUNT = "agentflow.map.count"
WAIT_DUE = "agentflow.wait.due"

APPROVAL_ASKED = "agentflow.approval.asked"
APPROVAL_GIVEN = "agentflow.approval.given"
APPROVAL_PROMPT = "agentflow.approval.prompt"
APPROVAL_DIGEST = "agentflow.approval.digest"
APPROVED = "agentflow.approval.approved"
APPROVED_BY = "agentflow.approval.by"
APPROVAL_COMMENT = "agentflow.approval.comment"

EFFECT_ONCE = "agentflow.effect.once"
EFFECT_NAME = "agentflow.effect.name"
EFFECT_DOUBTED = "agentflow.effect.doubted"
EFFECT_RESOLVED = "agentflow.effect.resolved"
EFFECT_VERDICT = "agentflow.effect.verdict"
EFFECT_RESOLVED_BY = "agentflow.effect.by"
EFFECT_COMMENT = "agentflow.effect.comment"

ARTIFACT_KEPT = "agentflow.artifact.kept"
ARTIFACT = "agentflow.artifact."

# The events that a span is made of, each with its hash, by which the trail is proven; and what they say.
AUDIT_RECORDS = "agentflow.audit.records"
AUDIT_CONTENT = "agentflow.audit.content"
AUDIT_HEAD = "agentflow.audit.head"
AUDIT_COUNT = "agentflow.audit.count"
AUDIT_CHAIN = "agentflow.audit.chain"

OPERATION_ID = "agentflow.operation"
OPERATION_NTH = "agentflow.operation.nth"
OPERATION_RESERVED = "agentflow.reserved."
OPERATION_REQUEST = "agentflow.request"
OPERATION_RESULT = "agentflow.result"
MODEL_NOTE = "agentflow.note"
GUARDRAIL_FAILURE = "agentflow.failure"
RETRIED_AFTER = "agentflow.retried_after"
HANDOFF_TO = "agentflow.handoff_to"
OUTPUT_SCHEMA = "agentflow.output.schema"
USAGE = "agentflow.usage."
TOOL_LABEL = "agentflow.tool."
PLAN_THOUGHT = "agentflow.plan.thought"
PLAN_DONE = "agentflow.plan.done"
PLAN_CALLS = "agentflow.plan.calls"
PLAN_TOOLS = "agentflow.plan.tools"
PLAN_CONFIDENCE = "agentflow.plan.confidence"
PLAN_CHOICE = "agentflow.plan.choice"
CHOICE_AFTER = "agentflow.plan.choice.after"
CHOICE_WHY = "agentflow.plan.choice.why"
CHOICE_CONFIDENCE = "agentflow.plan.choice.confidence"
CHOICE_ALTERNATIVES = "agentflow.plan.choice.alternatives"

# Collectors and their stores take 128 attributes of a span, and some drop the first ones beyond: those that name it. So a
# span has fewer, with room for what is added on the way; these, of which a run may have any number, are dropped beyond.
MOST_ATTRIBUTES = 112
DROPPED = "agentflow.dropped_attributes"
UNBOUNDED = (RUN_ATTRIBUTE, f"{OPERATION_REQUEST}.", RUN_BUDGET, USAGE, OPERATION_RESERVED, BOUND)

# What people, models and tools said: left out where a collector must not see it, as are the parts of OPERATION_REQUEST.
CONTENT = frozenset(
    {
        SYSTEM_INSTRUCTIONS,
        INPUT_MESSAGES,
        OUTPUT_MESSAGES,
        TOOL_ARGUMENTS,
        TOOL_RESULT,
        RETRIEVAL_QUERY,
        RETRIEVAL_DOCUMENTS,
        URL_FULL,
        STEP_INPUT,
        STEP_OUTPUT,
        OPERATION_REQUEST,
        OPERATION_RESULT,
        MODEL_NOTE,
        GUARDRAIL_FAILURE,
        RETRIED_AFTER,
        PLAN_THOUGHT,
        CHOICE_WHY,
        CHOICE_ALTERNATIVES,
        APPROVAL_PROMPT,
        APPROVAL_COMMENT,
        EFFECT_COMMENT,
        RUN_REASON,
        ERROR_HINT,
        EXCEPTION_MESSAGE,
        EXCEPTION_STACKTRACE,
    }
)

# Prefixes of names whose rest is a name too: of a label, of an amount, of what a tool is.
NAMED = (
    RUN_ATTRIBUTE,
    RUN_TOTAL,
    RUN_BUDGET,
    BOUND,
    ARTIFACT,
    OPERATION_RESERVED,
    USAGE,
    TOOL_LABEL,
    AUDIT_CONTENT,
)
KNOWN = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str)
)
