"""Speech, pictures and moderation: over any service that speaks the OpenAI API, and on this machine where weights can be had."""

from agentflow.toolkit.media.endpoint import Endpoint
from agentflow.toolkit.media.folder import Folder
from agentflow.toolkit.media.images import Images
from agentflow.toolkit.media.moderation import Moderation, Moderator
from agentflow.toolkit.media.ocr import Line, Ocr
from agentflow.toolkit.media.offering import image_tools, moderation_tool, ocr_tool, speech_tools
from agentflow.toolkit.media.picture import Picture
from agentflow.toolkit.media.speech import Speech, SpeechEngine
from agentflow.toolkit.media.transcript import Segment, Transcript
from agentflow.toolkit.media.whisper import LocalSpeech

__all__ = [
    "Endpoint",
    "Folder",
    "Images",
    "Line",
    "LocalSpeech",
    "Moderation",
    "Moderator",
    "Ocr",
    "Picture",
    "Segment",
    "Speech",
    "SpeechEngine",
    "Transcript",
    "image_tools",
    "moderation_tool",
    "ocr_tool",
    "speech_tools",
]
