"""Dialects and faults of servers that speak OpenAI's protocol more or less; a model's name chooses one."""

import json
import re
from typing import Any

from tests.captions.written import caption


def wanted(body: dict[str, Any]) -> list[tuple[str, int]]:
    """The classes that are asked about, with the number of captions of each."""
    found = re.findall(r"^- (.+): (\d+)$", body["messages"][-1]["content"], re.MULTILINE)
    return [(name, int(count)) for name, count in found]


def written(body: dict[str, Any], name: str, count: int) -> list[str]:
    seed = next((body[key] for key in ("seed", "random_seed") if key in body), 0)
    return [
        caption(name, f"{seed}|{len(body['messages'][-1]['content'])}|{index}") for index in range(count)
    ]


def good(body: dict[str, Any]) -> dict[str, Any]:
    return {"captions": [{"class": n, "captions": written(body, n, c)} for n, c in wanted(body)]}


def lines(body: dict[str, Any]) -> str:
    return "\n".join(f"{n}: {text}" for n, c in wanted(body) for text in written(body, n, c))


def reply(content: Any, finish: str = "stop", **message: Any) -> tuple[int, Any]:
    return 200, {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
    }


def err(status: int, message: str, **more: Any) -> tuple[int, Any]:
    return status, {"error": {"message": message, **more}}


def respond(body: dict[str, Any]) -> tuple[int, Any]:
    """Status and answer of the dialect that the model is named after."""
    kind, names = str(body["model"]), [n for n, _ in wanted(body)]
    text = json.dumps(good(body))
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if kind == "good":
        return reply(text)
    # One class is refused.
    if kind == "refusal-field" and "gun" in names:
        return reply(None, refusal="I can't help with that.")
    if kind == "refusal-finish" and "gun" in names:
        return reply("", "refusal")
    if kind == "refusal-text" and "gun" in names:
        return reply("I'm sorry, but I can't help with that request.")
    if kind == "safety-finish" and "gun" in names:
        return reply(None, "safety")
    if kind == "content-filter" and "gun" in names:
        return reply(None, "content_filter")
    if kind == "sensitive-400" and "gun" in names:
        return err(400, "Input data may contain inappropriate content.", code="data_inspection_failed")
    if kind == "block-403" and "gun" in names:
        return err(403, "Your input was flagged by the moderation system.", code="moderation_blocked")
    # Too much at once.
    many = len(names) > 1
    if kind == "vllm-old" and many:
        return 400, {
            "object": "error",
            "message": "Its maximum context length is 2048 tokens. However, you requested 4700 tokens",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    if kind == "quota-output" and limit and limit > 2000:
        return err(
            400,
            "max_tokens is too large: 4000. This model supports at most 2000 completion tokens.",
        )
    # Parameters that are not taken.
    if kind == "temp-only-1" and body.get("temperature", 1) != 1:
        return err(
            400,
            "Unsupported value: 'temperature' does not support 0.7. Only the default (1) is supported.",
        )
    if kind == "no-schema-500" and "response_format" in body:
        return err(500, "response_format is not supported")
    if kind == "echo-422" and body.get("response_format", {}).get("type") == "json_schema":
        return 422, {
            "detail": [
                {
                    "type": "literal_error",
                    "loc": ["body", "response_format", "type"],
                    "msg": "Input should be 'text' or 'json_object'",
                    "input": body,
                }
            ]
        }
    if kind == "echo-422b" and "response_format" in body:
        return 422, {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "response_format"],
                    "msg": "Extra inputs are not permitted",
                    "input": body,
                }
            ]
        }
    if kind == "mistral-seed" and "seed" in body:
        return 422, {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "seed"],
                        "msg": "Extra inputs are not permitted",
                        "input": body["seed"],
                    }
                ]
            },
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    if kind == "fastapi-seed" and "seed" in body:
        return 422, {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "seed"],
                    "msg": "Extra inputs are not permitted",
                    "input": body["seed"],
                }
            ]
        }
    if kind == "fastapi-format" and body.get("response_format", {}).get("type") == "json_schema":
        return 422, {
            "detail": [
                {
                    "type": "literal_error",
                    "loc": ["body", "response_format", "type"],
                    "msg": "Input should be 'text' or 'json_object'",
                    "input": "json_schema",
                }
            ]
        }
    if kind == "detail-string" and "response_format" in body:
        return 400, {"detail": "response_format is not supported by this backend"}
    if kind == "plain-string" and "response_format" in body:
        return 400, {"error": "response_format is not supported by this backend"}
    if kind == "message-top" and "response_format" in body:
        return 400, {"message": "response_format is not supported by this backend"}
    if kind == "errors-list" and "response_format" in body:
        return 400, [
            {
                "error": {
                    "code": 400,
                    "message": 'Unknown name "response_format": Cannot find field.',
                    "status": "INVALID_ARGUMENT",
                }
            }
        ]
    if kind == "raw-text" and "response_format" in body:
        return 400, "response_format is not supported by this backend"
    if kind == "schema-additional" and body.get("response_format", {}).get("type") == "json_schema":
        return err(
            400,
            "Unknown name \"additionalProperties\" at 'generation_config.response_schema'.",
        )
    if (
        kind == "json-word"
        and body.get("response_format", {}).get("type") == "json_object"
        and "json" not in str(body["messages"]).lower()
    ):
        return err(400, "'messages' must contain the word 'json' in some form")
    if kind == "no-format-silent" and "response_format" in body:
        return reply("")
    if kind == "both-limits" and ("max_tokens" in body):
        return err(
            400, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
    if kind == "seed-int32" and body.get("seed", 0) > 2**31 - 1:
        return err(400, "seed out of range")
    if kind == "stream-only" and not body.get("stream"):
        return err(
            400,
            "This model only support stream mode, please enable the stream parameter to access the model.",
            code="invalid_parameter_error",
        )
    if kind == "thinking-flag":
        return err(400, "parameter.enable_thinking must be set to false for non-streaming calls")
    # Errors in disguise.
    if kind == "ok-error":
        return 200, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}
    if kind == "ok-error-choice":
        return 200, {
            "id": "x",
            "choices": [
                {
                    "error": {"message": "Upstream overloaded", "code": 502},
                    "finish_reason": "error",
                    "message": {"role": "assistant", "content": ""},
                }
            ],
        }
    if kind == "ok-msg":
        return 200, {"code": 10013, "message": "account overdue", "success": False}
    if kind == "dict-detail":
        return 400, {"detail": "Model not loaded"}
    if kind == "loading-400":
        return err(400, "No models loaded. Please load a model in the developer page.")
    if kind == "sse":
        return 200, "data: " + json.dumps(
            {"choices": [{"delta": {"content": "x"}}]}
        ) + "\n\ndata: [DONE]\n\n"
    # Odd answers.
    if kind == "parts":
        return reply([{"type": "text", "text": text}])
    if kind == "parts-thinking":
        return reply(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]},
                {"type": "text", "text": text},
            ]
        )
    if kind == "think":
        return reply(
            "<think>\nThe user wants JSON for "
            + ", ".join(names)
            + '. Format: {"captions": [{"class": ..., "captions": [...]}]}\n</think>\n\n'
            + text
        )
    if kind == "think-draft":
        draft = json.dumps(
            {
                "captions": [
                    {
                        "class": n,
                        "captions": [
                            f"placeholder caption one about a {n} goes here",
                            f"placeholder caption two with the {n} somewhere else",
                        ],
                    }
                    for n in names
                ]
            }
        )
        return reply(
            f"<think>\nI need this shape first:\n{draft}\nNo wait, not real ones.\n</think>\n{text}"
        )
    if kind == "think-lines":
        notes = "\n".join(
            f"- {n}: I should mention the {n} in every caption and vary the light" for n in names
        )
        return reply(f"<think>\nPlan:\n{notes}\n</think>\n{lines(body)}")
    if kind == "think-unclosed":
        notes = "\n".join(f"{n}: okay so the user wants me to say {n} in every sentence" for n in names)
        return reply(f"<think>\n{notes}", "stop")
    if kind == "think-open-missing":
        notes = "\n".join(f"{n}: okay so the user wants me to say {n} in every sentence" for n in names)
        return reply(f"{notes}\n</think>\n{lines(body)}")
    if kind == "gptoss":
        return reply(
            "<|channel|>analysis<|message|>We need JSON for "
            + ", ".join(names)
            + "<|end|><|start|>assistant<|channel|>final<|message|>"
            + text
        )
    if kind == "reasoning-only":
        return reply(None, reasoning_content=text)
    if kind == "tool":
        return reply(
            None,
            "tool_calls",
            tool_calls=[
                {"id": "1", "type": "function", "function": {"name": "captions", "arguments": text}}
            ],
        )
    if kind == "double":
        return reply(json.dumps(text))
    if kind == "fence2":
        return reply("```json\n" + text + '\n```\nHere is a summary:\n```\n{"done": true}\n```')
    if kind == "numbered":
        return reply(
            json.dumps({n: {str(i): written(body, n, c)[i] for i in range(c)} for n, c in wanted(body)})
        )
    if kind == "flatlist":
        return reply(json.dumps([written(body, n, c)[i] for n, c in wanted(body) for i in range(c)]))
    if kind == "md":
        return reply(
            "\n".join(
                f"## {n}\n\n" + "\n".join(f"{i + 1}. **{written(body, n, c)[i]}**" for i in range(c))
                for n, c in wanted(body)
            )
        )
    if kind == "table":
        return reply(
            "| class | caption |\n|---|---|\n"
            + "\n".join(f"| {n} | {written(body, n, c)[i]} |" for n, c in wanted(body) for i in range(c))
        )
    if kind == "csv":
        return reply(
            "class,caption\n"
            + "\n".join(f'{n},"{written(body, n, c)[i]}"' for n, c in wanted(body) for i in range(c))
        )
    if kind == "bom":
        return reply("\ufeff" + text)
    if kind == "zwsp":
        return reply(text.replace(" in a", "\u200b in a"))
    if kind == "nbsp":
        return reply(text.replace(" in a", "\u00a0in a"))
    if kind == "curly":
        return reply(text.replace('"', "\u201d"))
    if kind == "single":
        return reply(str(good(body)))
    if kind == "trailing-comma":
        return reply(text.replace('"]', '",]'))
    if kind == "comments":
        return reply(text.replace('"captions": ["', '"captions": [ // the captions\n"'))
    if kind == "choices-null":
        return 200, {"id": "x", "choices": None}
    if kind == "usage-neg":
        s, b = reply(text)
        b["usage"] = {"prompt_tokens": "100", "completion_tokens": None}
        return s, b
    return reply(text)


DIALECTS = (
    "good",
    "refusal-field",
    "refusal-finish",
    "refusal-text",
    "safety-finish",
    "content-filter",
    "sensitive-400",
    "block-403",
    "vllm-old",
    "quota-output",
    "temp-only-1",
    "no-schema-500",
    "echo-422",
    "echo-422b",
    "mistral-seed",
    "fastapi-seed",
    "fastapi-format",
    "detail-string",
    "plain-string",
    "message-top",
    "errors-list",
    "raw-text",
    "schema-additional",
    "json-word",
    "no-format-silent",
    "both-limits",
    "seed-int32",
    "stream-only",
    "thinking-flag",
    "ok-error",
    "ok-error-choice",
    "ok-msg",
    "dict-detail",
    "loading-400",
    "sse",
    "parts",
    "parts-thinking",
    "think",
    "think-draft",
    "think-lines",
    "think-unclosed",
    "think-open-missing",
    "gptoss",
    "reasoning-only",
    "tool",
    "double",
    "fence2",
    "numbered",
    "flatlist",
    "md",
    "table",
    "csv",
    "bom",
    "zwsp",
    "nbsp",
    "curly",
    "single",
    "trailing-comma",
    "comments",
    "choices-null",
    "usage-neg",
)
