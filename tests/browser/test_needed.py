"""What the browser tests need is skipped where it is missing, but never where they must run."""

import pytest
from tests.browser.conftest import NEEDED, missing


def test_what_is_missing_is_a_skip_or_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NEEDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no chromium"):
        missing("there is no chromium here")
    monkeypatch.setenv(NEEDED, "required")
    with pytest.raises(pytest.fail.Exception, match="no chromium"):
        missing("there is no chromium here")
