"""Google's official Python client against the sandbox: host:port and project in, exit code out."""

import sys
import urllib.request

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from google.cloud.run_v2.services.revisions.transports import RevisionsRestTransport
from google.cloud.run_v2.services.services.transports import ServicesRestTransport
from google.protobuf import field_mask_pb2

HOST, PARENT = sys.argv[1], sys.argv[2]
IMAGE = "europe-docker.pkg.dev/demo/app/web@sha256:" + "1" * 64
NEXT = "europe-docker.pkg.dev/demo/app/web@sha256:" + "2" * 64
REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
SUCCEEDED = run_v2.Condition.State.CONDITION_SUCCEEDED


def transport(kind):
    return kind(host=HOST, url_scheme="http", credentials=AnonymousCredentials())


services = run_v2.ServicesClient(transport=transport(ServicesRestTransport))
revisions = run_v2.RevisionsClient(transport=transport(RevisionsRestTransport))

# Create, and wait for the operation.
template = run_v2.RevisionTemplate(
    containers=[run_v2.Container(image=IMAGE, env=[run_v2.EnvVar(name="MODE", value="")])],
    timeout={"seconds": 3, "nanos": 500_000_000},
)
made = services.create_service(
    parent=PARENT, service_id="python", service=run_v2.Service(template=template)
).result(timeout=20)
assert made.terminal_condition.state == SUCCEEDED, made.terminal_condition
assert made.template.timeout.total_seconds() == 3.5, made.template.timeout
assert made.generation == made.observed_generation == 1
assert made.ingress == run_v2.IngressTraffic.INGRESS_TRAFFIC_ALL

# Get, list.
name = f"{PARENT}/services/python"
service = services.get_service(name=name)
assert service.name == name and service.etag and service.create_time
assert service.template.containers[0].env[0].name == "MODE"
request = run_v2.ListServicesRequest(parent=PARENT, page_size=1)
assert name in [item.name for item in services.list_services(request=request)]

# Enums by name, which other clients ask for, say the same as enums by number.
with urllib.request.urlopen(f"http://{HOST}/v2/{name}") as answer:
    by_name = answer.read().decode()
assert '"CONDITION_SUCCEEDED"' in by_name
assert run_v2.Service.from_json(by_name) == service

# A new revision without traffic, then traffic to it.
first = service.latest_ready_revision.rsplit("/", 1)[1]
service.template.revision = "python-next"
service.template.containers[0].image = NEXT
service.traffic = [run_v2.TrafficTarget(type_=REVISION, revision=first, percent=100)]
changed = services.update_service(
    service=service, update_mask=field_mask_pb2.FieldMask(paths=["template", "traffic"])
).result(timeout=20)
assert changed.latest_ready_revision.endswith("/python-next"), changed.latest_ready_revision
assert [(s.revision, s.percent) for s in changed.traffic_statuses] == [(first, 100)]
assert changed.traffic_statuses[0].type_ == REVISION
changed.traffic = [
    run_v2.TrafficTarget(type_=REVISION, revision=first, percent=90),
    run_v2.TrafficTarget(type_=REVISION, revision="python-next", percent=10, tag="next"),
]
split = services.update_service(
    service=changed, update_mask=field_mask_pb2.FieldMask(paths=["traffic"])
).result(timeout=20)
assert [s.percent for s in split.traffic_statuses] == [90, 10]
assert split.traffic_statuses[1].uri.startswith("https://next---python-")

# Revisions.
listed = list(revisions.list_revisions(parent=name))
assert {r.name.rsplit("/", 1)[1] for r in listed} == {first, "python-next"}
assert revisions.get_revision(name=f"{name}/revisions/python-next").containers[0].image == NEXT

# Refusals are the exceptions that Google's own service raises.
for mistake, expected in [
    (lambda: services.get_service(name=f"{PARENT}/services/absent"), exceptions.NotFound),
    (lambda: services.update_service(service=changed), exceptions.Conflict),
    (
        lambda: services.create_service(
            parent=PARENT, service_id="python", service=run_v2.Service(template=template)
        ),
        exceptions.Conflict,
    ),
]:
    try:
        mistake()
    except expected:
        continue
    raise AssertionError(f"{expected} was expected")

print("ok")
