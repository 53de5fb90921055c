"""docker-compose.yml keeps its promises; building and running the images is test_images.py's business."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return services


def test_5000_is_the_only_published_port(services: dict[str, Any]) -> None:
    assert [port for service in services.values() for port in service.get("ports", [])] == ["5000:5000"]


def test_every_service_is_a_target_of_the_dockerfile(services: dict[str, Any]) -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert {service["build"]["target"] for service in services.values()} == {"torchserve", "proxy"} <= set(targets)


def test_torchserve_is_reachable_through_the_shared_loopback_alone(services: dict[str, Any]) -> None:
    assert services["proxy"]["network_mode"] == services["torchserve"]["network_mode"] == "service:network"
    assert "restart" in services["network"]
    addresses = re.findall(r"^\w+_address=(\S+)$", (REPOSITORY / "config.properties").read_text(), flags=re.MULTILINE)
    assert len(addresses) == 5
    assert all(address.removeprefix("http://").startswith("127.0.0.1") for address in addresses)


def test_both_services_see_the_token_file(services: dict[str, Any]) -> None:
    for service in (services["torchserve"], services["proxy"]):
        assert "run:/run/memeguard" in service["volumes"]


def test_what_strangers_may_take_is_bounded(services: dict[str, Any]) -> None:
    assert {"mem_limit", "pids_limit", "ulimits"} <= services["proxy"].keys()
    assert all("max-size" in service["logging"]["options"] for service in services.values())
