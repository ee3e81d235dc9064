"""What a board's agent says, held against what the protocol says of it before anything else reads it: a board is
trusted with nothing but its answers."""

from __future__ import annotations

from typing import Any

from edgesparse.wire import Message, WireError

_NUMBER = (int, float)
_OR_NONE = type(None)
_IN_LINE = {
    "run": str, "owner": str, "place": int, "since_s": _NUMBER, "wait_s": _NUMBER, "remaining_s": _NUMBER,
    "followers": int,
}  # fmt: skip
# Of readings each has a time of its own.
_READINGS = {"record": {"seq": int, "t_ns": [int], "type": str, "source": str, "values": dict, "errors": list}}
# The fields of each type of message, and what each may be; those of the objects in a list are in the list.
_FIELDS: dict[str, dict[str, Any]] = {
    "status": {
        "state": str, "held_by": (str, _OR_NONE), "queue": [_IN_LINE],
        "ended": [{"run": str, "owner": (str, _OR_NONE), "status": str}],
    },
    "accepted": {"run": str, "place": int, "wait_s": _NUMBER},
    "place": {"run": str, "place": (int, _OR_NONE), "wait_s": _NUMBER, "held_by": (str, _OR_NONE)},
    "record": {"record": {"seq": int, "t_ns": int, "type": str}},
    "end": {"run": str, "status": (str, _OR_NONE), "reason": (str, _OR_NONE)},
    "cancelled": {"run": str},
    "logs": {"lines": [str]},
    "stopping": {},
    "ping": {},
    "error": {"message": str},
}  # fmt: skip


def check_answer(message: Message) -> None:
    """Refuse a message of a type that agents do not send, or whose fields are not what they should be.

    Raises:
        WireError: says which field, and what was found there.
    """
    fields = _FIELDS.get(message["type"])
    if fields is None:
        raise WireError(f"a message of type {message['type']!r:.60} is none of an agent's")
    if message["type"] == "record" and _is_of_readings(message.get("record")):
        fields = _READINGS
    _check(message, fields, message["type"])


def _is_of_readings(record: Any) -> bool:
    return isinstance(record, dict) and record.get("type") == "sensors"


def _check(value: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        _require(isinstance(value, dict), value, where)
        for name, inner in expected.items():
            _check(value.get(name), inner, f"{where}.{name}")
    elif isinstance(expected, list):
        _require(isinstance(value, list), value, where)
        for each in value:
            _check(each, expected[0], f"{where}[]")
    else:  # to Python true and false are numbers
        _require(isinstance(value, expected) and not isinstance(value, bool), value, where)


def _require(holds: bool, value: Any, where: str) -> None:
    if not holds:
        raise WireError(f"{where} cannot be {value!r:.60}")
