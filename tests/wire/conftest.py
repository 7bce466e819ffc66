import pytest

pytest.register_assert_rewrite("programs", "real_broker")

SKIPPED = 77  # for ctest: nothing ran


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and not reporter.stats.get("passed"):
        session.exitstatus = SKIPPED
