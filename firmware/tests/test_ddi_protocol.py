"""The DDI interface as values: what is read, what is answered, what it means for a roll-out."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.ddi import answers, mapping, requests, tokens
from firmware.ddi.answers import Deployment, Due, File, Handling
from firmware.ddi.errors import DdiError, ErrorCode, Refusal
from firmware.ddi.requests import Attributes, Execution, Feedback, Finished, Mode

ROOT = "https://energy.example/acme/controller/v1/M-1"
FILE = File("meter-1.1.0.swu", 13, "5" * 40, "d" * 32, "b" * 64)
DEPLOYMENT = Deployment(8, 3, "Meter", "1.1.0", (FILE,))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_polling_without_anything_to_do_tells_the_interval_alone() -> None:
    told = answers.controller_base(ROOT, polling_s=300, due=Due())
    assert told == {"config": {"polling": {"sleep": "00:05:00"}}}


def test_polling_links_what_is_due() -> None:
    due = Due(deploy=8, installed=5, attributes=True, tag=17)
    assert answers.controller_base(ROOT, polling_s=30, due=due) == {
        "config": {"polling": {"sleep": "00:00:30"}},
        "_links": {
            "deploymentBase": {"href": f"{ROOT}/deploymentBase/8?c=17"},
            "installedBase": {"href": f"{ROOT}/installedBase/5"},
            "configData": {"href": f"{ROOT}/configData"},
        },
    }
    cancel = answers.controller_base(ROOT, polling_s=30, due=Due(cancel=8))
    assert cancel["_links"] == {"cancelAction": {"href": f"{ROOT}/cancelAction/8"}}
    confirm = answers.controller_base(ROOT, polling_s=30, due=Due(confirm=8, tag=1))
    assert confirm["_links"] == {"confirmationBase": {"href": f"{ROOT}/confirmationBase/8?c=1"}}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "00:00:01"), (59, "00:00:59"), (3_600, "01:00:00"), (10**9, "23:59:59")],
)
def test_interval_is_a_time_of_day(seconds: int, told: str) -> None:
    assert answers.polling_interval(seconds) == told


def test_deployment_has_chunks_with_files_and_where_they_are() -> None:
    folder = f"{ROOT}/softwaremodules/3/artifacts"
    assert answers.deployment_base(ROOT, DEPLOYMENT) == {
        "id": "8",
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [
                {
                    "part": "os",
                    "version": "1.1.0",
                    "name": "Meter",
                    "artifacts": [
                        {
                            "filename": "meter-1.1.0.swu",
                            "hashes": {"sha1": "5" * 40, "md5": "d" * 32, "sha256": "b" * 64},
                            "size": 13,
                            "_links": {
                                "download": {"href": f"{folder}/meter-1.1.0.swu"},
                                "md5sum": {"href": f"{folder}/meter-1.1.0.swu.MD5SUM"},
                                "download-http": {"href": f"{folder}/meter-1.1.0.swu"},
                                "md5sum-http": {"href": f"{folder}/meter-1.1.0.swu.MD5SUM"},
                            },
                        }
                    ],
                }
            ],
        },
    }


def test_host_without_tls_has_links_of_http() -> None:
    told = answers.artifacts(ROOT.replace("https", "http"), 3, [FILE])
    assert sorted(told[0]["_links"]) == ["download-http", "md5sum-http"]


def test_deployment_tells_how_it_is_to_be_handled() -> None:
    deployment = Deployment(8, 3, "M", "1", (FILE,), handling=Handling.ATTEMPT)
    told = answers.deployment_base(ROOT, deployment)
    assert told["deployment"]["download"] == told["deployment"]["update"] == "attempt"


def test_confirmation_asks_with_the_deployment() -> None:
    told = answers.confirmation_action(ROOT, DEPLOYMENT)
    deployed = answers.deployment_base(ROOT, DEPLOYMENT)
    assert told == {"id": "8", "confirmation": deployed["deployment"]}


def test_confirmation_base_tells_whether_it_was_agreed_in_advance() -> None:
    asked = answers.confirmation_base(ROOT, waiting=8, tag=16, by="", remark="", at=None)
    assert asked == {
        "autoConfirm": {"active": False},
        "_links": {
            "activateAutoConfirm": {"href": f"{ROOT}/confirmationBase/activateAutoConfirm"},
            "confirmationBase": {"href": f"{ROOT}/confirmationBase/8?c=16"},
        },
    }
    at = datetime(2026, 3, 1, tzinfo=UTC)
    agreed = answers.confirmation_base(ROOT, waiting=None, tag=0, by="Ada", remark="", at=at)
    assert agreed == {
        "autoConfirm": {
            "active": True,
            "initiator": "Ada",
            "remark": "",
            "activatedAt": 1_772_323_200_000,
        },
        "_links": {
            "deactivateAutoConfirm": {"href": f"{ROOT}/confirmationBase/deactivateAutoConfirm"}
        },
    }


def test_cancel_and_checksum() -> None:
    assert answers.cancel_action(8) == {"id": "8", "cancelAction": {"stopId": "8"}}
    assert answers.md5_line(FILE) == f"{'d' * 32}  meter-1.1.0.swu"


def test_feedback_of_suricatta_is_read() -> None:
    sent = json.loads(
        '{"id": 8, "time": "20260301T120000", "status": {"result": {"progress": {"cnt": 1,'
        ' "of": 1}, "finished": "none"}, "execution": "proceeding",'
        ' "details": ["All Chunks Installed."]}}'
    )
    assert requests.read_feedback(sent) == Feedback(
        Execution.PROCEEDING, Finished.NONE, 1, 1, None, ("All Chunks Installed.",)
    )


@pytest.mark.parametrize(
    ("sent", "member"),
    [
        ([], "the body"),
        ({}, "status"),
        ({"status": {"execution": "closed"}}, "status.result"),
        ({"status": {"execution": "closed", "result": {}}}, "status.result.finished"),
        ({"status": {"execution": "begun", "result": {}}}, "status.execution"),
        ({"status": {"execution": ["closed"], "result": {}}}, "status.execution"),
        (
            {"status": {"execution": "closed", "result": {"finished": "none"}, "details": "x"}},
            "status.details",
        ),
        (
            {"status": {"execution": "closed", "result": {"finished": "none"}, "details": [[]]}},
            "status.details",
        ),
        (
            {"status": {"execution": "closed", "result": {"finished": "none"}, "code": 2**40}},
            "status.code",
        ),
    ],
)
def test_bad_feedback_is_told_by_its_member(sent: Any, member: str) -> None:
    with pytest.raises(DdiError) as raised:
        requests.read_feedback(sent)
    assert raised.value.refusal.code is ErrorCode.UNREADABLE
    assert f"In {member}, send " in raised.value.refusal.message


def test_many_and_long_lines_are_cut() -> None:
    told = {"execution": "closed", "result": {"finished": "failure"}}
    lines = [*(str(n) for n in range(60)), "x" * 9_999, "a\0b\nc\ud800"]
    found = requests.read_feedback({"status": {**told, "details": lines}})
    assert len(found.details) == requests.MOST_DETAILS
    assert found.details[0] == "12"
    assert found.details[-2:] == ("x" * requests.MOST_DETAIL_CHARS, "a b c?")


@given(anything)
def test_whatever_is_sent_is_read_or_refused(sent: Any) -> None:
    for read in (
        requests.read_feedback,
        requests.read_consent,
        requests.read_attributes,
        requests.read_auto_confirm,
    ):
        with suppress(DdiError):  # and no other error
            assert read(sent) is not None


@given(
    st.sampled_from(Execution),
    st.sampled_from(Finished),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    st.lists(st.text(), max_size=5),
)
def test_news_are_final_exactly_when_the_action_is_over(
    execution: Execution, finished: Finished, done: int, total: int, lines: list[str]
) -> None:
    news = mapping.news_of(Feedback(execution, finished, done, total, None, tuple(lines)))
    assert news.final == (execution in (Execution.CLOSED, Execution.CANCELED))
    assert (news.kind == "confirmed") == (
        execution is Execution.CLOSED and finished is not Finished.FAILURE
    )
    assert bool(news.code) == (news.kind in ("failed", "withdrawn"))


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (
            ("ERROR : Authentication of all signatures failed", "Compatible SW not found"),
            "signature",
        ),
        (("ERROR : HASH mismatch : d036 <--> 51b1", "Image invalid or corrupted."), "digest"),
        (("ERROR : Compatible SW not found",), "hardware"),
        (("ERROR : execute preinstall scripts failed", "Installation failed !"), "flash"),
        (("No space left on device",), "space"),
        (("Download failed: Could not resolve host",), "download"),
        (("It did not like it",), "other"),
        ((), "other"),
    ],
)
def test_failure_is_told_by_what_the_lines_show(lines: tuple[str, ...], code: str) -> None:
    failed = Feedback(Execution.CLOSED, Finished.FAILURE, details=lines)
    assert mapping.news_of(failed) == mapping.News(
        "failed", code, mapping.trouble_in(lines) or "\n".join(lines), final=True
    )


def test_errors_are_told_of_many_lines() -> None:
    lines = ["[extract_files] : Found file"] * 40 + ["ERROR : HASH mismatch", "Waiting"]
    told = Feedback(Execution.PROCEEDING, Finished.NONE, details=tuple(lines))
    assert mapping.news_of(told) == mapping.News("progress", "", "ERROR : HASH mismatch")


def test_reason_that_was_told_before_the_failure_is_the_failures() -> None:
    """SWUpdate sends its log first, and then that there was no suitable image."""
    failed = Feedback(Execution.CLOSED, Finished.FAILURE, details=("No suitable .swu image found",))
    assert mapping.news_of(failed).code == "other"
    news = mapping.news_of(failed, "ERROR : execute preinstall scripts failed")
    assert (news.code, news.detail) == (
        "flash",
        "ERROR : execute preinstall scripts failed\nNo suitable .swu image found",
    )


@given(st.lists(st.text()), st.text())
def test_details_fit(lines: list[str], trouble: str) -> None:
    failed = Feedback(Execution.CLOSED, Finished.FAILURE, details=tuple(lines))
    assert len(mapping.news_of(failed, trouble).detail) <= mapping.MOST_DETAIL


def test_steps_that_are_all_done_are_an_installation() -> None:
    def kind(execution: Execution, done: int, total: int) -> str:
        return mapping.news_of(Feedback(execution, Finished.NONE, done, total)).kind

    assert kind(Execution.PROCEEDING, 0, 1) == "progress"
    assert kind(Execution.PROCEEDING, 0, 0) == "progress"
    assert kind(Execution.PROCEEDING, 1, 1) == "installing"
    assert kind(Execution.DOWNLOADED, 0, 0) == "downloaded"
    assert kind(Execution.REJECTED, 0, 0) == "progress"


@pytest.mark.parametrize(
    ("execution", "finished", "stopped"),
    [
        (Execution.CLOSED, Finished.SUCCESS, True),
        (Execution.CANCELED, Finished.NONE, True),
        (Execution.CLOSED, Finished.FAILURE, False),
        (Execution.REJECTED, Finished.NONE, False),
        (Execution.PROCEEDING, Finished.NONE, None),
    ],
)
def test_cancellation_is_settled_or_not(
    execution: Execution, finished: Finished, stopped: bool | None
) -> None:
    assert mapping.cancelled(Feedback(execution, finished)) is stopped


@pytest.mark.parametrize(
    ("mode", "after"),
    [
        (Mode.MERGE, {"a": "2", "b": "1", "c": "3"}),
        (Mode.REPLACE, {"a": "2", "c": "3"}),
        (Mode.REMOVE, {"b": "1"}),
    ],
)
def test_attributes_change_as_their_mode_says(mode: Mode, after: dict[str, str]) -> None:
    assert Attributes(mode, {"a": "2", "c": "3"}).applied_to({"a": "1", "b": "1"}) == after


def test_too_many_attributes_are_refused() -> None:
    many = {str(n): "" for n in range(requests.MOST_ATTRIBUTES)}
    with pytest.raises(DdiError) as raised:
        Attributes(Mode.MERGE, {"one more": ""}).applied_to(many)
    assert raised.value.refusal.code is ErrorCode.QUOTA


@pytest.mark.parametrize("data", [{"": "x"}, {"a": "x" * 129}, {"a": []}, {"k" * 129: "x"}])
def test_bad_attributes_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(DdiError) as raised:
        requests.read_attributes({"data": data})
    assert raised.value.refusal.code is ErrorCode.ATTRIBUTES


def test_attributes_are_texts() -> None:
    sent = {"mode": "replace", "data": {"a": 1, "b": None, "c": "x\0", "d": True}}
    assert requests.read_attributes({**sent, "status": {}}) == Attributes(
        Mode.REPLACE, {"a": "1", "b": "", "c": "x ", "d": "true"}
    )


def test_refusal_has_the_members_of_hawkbit() -> None:
    assert Refusal(ErrorCode.NOT_FOUND, "There is none.").body() == {
        "exceptionClass": "org.eclipse.hawkbit.EntityNotFoundException",
        "errorCode": "hawkbit.server.error.repo.entitiyNotFound",
        "message": "There is none.",
    }


def test_token_opens_what_it_was_drawn_for() -> None:
    token = tokens.draw()
    target = tokens.read_authorization(f"TargetToken {token}")
    gateway = tokens.read_authorization(f"gatewaytoken {token}")
    assert target is not None
    assert gateway is not None
    known = tokens.digest(token)
    assert target.opens(target=known, gateway=None)
    assert not target.opens(target=None, gateway=known)
    assert gateway.opens(target=None, gateway=known)
    assert not gateway.opens(target=known, gateway=tokens.digest("another"))
    assert not target.opens(target=None, gateway=None)


@pytest.mark.parametrize(
    "header", ["", "TargetToken", "TargetToken ", "Bearer x", "x", f"TargetToken {'x' * 257}"]
)
def test_header_without_a_token_is_none(header: str) -> None:
    assert tokens.read_authorization(header) is None


def test_a_wrong_signature_is_one_however_its_lines_are_parted() -> None:
    lines = ["ERROR : Authentication of all signatures failed", "ERROR : Compatible SW not found"]
    for told_before in range(len(lines) + 1):
        trouble = mapping.trouble_in(lines[:told_before])
        told = tuple(lines[told_before:])
        failed = Feedback(Execution.CLOSED, Finished.FAILURE, details=told)
        assert mapping.news_of(failed, trouble).code == "signature"
    alone = Feedback(Execution.CLOSED, Finished.FAILURE, details=(lines[1],))
    assert mapping.news_of(alone).code == "hardware"
