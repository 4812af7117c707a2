import threading
import time

import pytest

from plugins import registry, services


@pytest.fixture
def forget():
    before = set(services.service_names())
    yield
    services.withdraw_services(set(services.service_names()) - before)


@pytest.mark.usefixtures("forget")
class TestServices:
    def test_a_service_is_built_on_first_use_and_once(self):
        built = []

        def build():
            built.append(1)
            time.sleep(0.05)
            return object()

        registry.register_service("lamp", build)
        assert not built
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(registry.get_service("lamp"))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(built) == 1
        assert len({id(each) for each in found}) == 1

    def test_an_unknown_service_is_named_with_the_cure(self):
        with pytest.raises(registry.UnknownService, match=r"'lantern'.*register_service"):
            registry.get_service("lantern")
        assert registry.find_service("lantern") is None

    def test_a_start_that_fails_is_tried_again(self):
        outcomes = iter([RuntimeError("no oil"), None])

        def build():
            outcome = next(outcomes)
            if outcome:
                raise outcome
            return "light"

        registry.register_service("lamp", build)
        with pytest.raises(RuntimeError, match="no oil"):
            registry.find_service("lamp")
        assert registry.find_service("lamp") == "light"

    def test_services_may_need_one_another_but_not_in_a_circle(self):
        registry.register_service("lamp", lambda: ("lamp", registry.get_service("oil")))
        registry.register_service("oil", lambda: "oil")
        assert registry.get_service("lamp") == ("lamp", "oil")
        registry.register_service("hen", lambda: registry.get_service("egg"))
        registry.register_service("egg", lambda: registry.get_service("hen"))
        with pytest.raises(services.CircularService, match="'hen'"):
            registry.get_service("hen")

    def test_a_name_is_not_taken_twice_unless_it_is_said(self):
        registry.register_service("lamp", str)
        registry.register_service("lamp", str)
        with pytest.raises(services.ServiceExists, match="'lamp'"):
            registry.register_service("lamp", int)
        registry.register_service("lamp", int, replace=True)
        assert registry.get_service("lamp") == 0

    def test_stopping_ends_what_runs_even_where_one_fails(self):
        stopped = []

        def fail(_instance):
            raise OSError("stuck")

        registry.register_service("lamp", lambda: "lamp", stop=stopped.append)
        registry.register_service("oil", lambda: "oil", stop=fail)
        registry.register_service("idle", lambda: "idle", stop=stopped.append)
        registry.get_service("lamp")
        registry.get_service("oil")
        registry.stop_services()
        assert stopped == ["lamp"]
        assert registry.get_service("lamp") == "lamp"
