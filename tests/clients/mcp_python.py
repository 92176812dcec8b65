"""The official MCP SDK as an agent: asks, waits while a person signs, fetches the proof.

Arguments: the gate's origin, a token, a protocol mode of the SDK (legacy, or auto for the newest), an image, a file
for the evidence, and `shows-pages` for a client that opens addresses for its person. Each line on standard
output is one JSON object that says what happened.
"""

import asyncio
import hashlib
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

GATE, TOKEN, MODE, IMAGE, EVIDENCE = sys.argv[1:6]
SHOWS_PAGES = sys.argv[6:] == ["shows-pages"]
SERVICE = "projects/demo/locations/europe-west1/services/web"
TOOLS = [
    "list_environments",
    "request_deployment",
    "request_job_execution",
    "request_signoff",
    "get_approval",
    "wait_for_approval",
    "cancel_approval",
    "get_evidence",
]


def tell(what, **more):
    print(json.dumps({"what": what, **more}), flush=True)


async def show_page(context, params):
    tell("page", url=params.url, message=params.message)
    return ElicitResult(action="accept")


async def progress(done, total, message):
    tell("progress", done=done, message=message)


async def story(client):
    tell("connected", revision=client.protocol_version, server=client.server_info.name)
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == TOOLS, tools
    for tool in tools:
        assert tool.output_schema["type"] == "object", tool
        assert "xample" in tool.description or "rguments" in tool.description, tool

    listed = await client.call_tool("list_environments", {})
    environments = listed.structured_content["environments"]
    assert [environment["name"] for environment in environments] == ["production"], environments

    # A wrong call comes back as a result that says what to do, and asks for nothing.
    wrong = await client.call_tool(
        "request_deployment",
        {"environment": "production", "service": SERVICE, "image": "web:latest", "reason": "x"},
    )
    assert wrong.is_error, wrong
    tell("refused", **wrong.structured_content)

    asked = await client.call_tool(
        "request_deployment",
        {
            "environment": "production",
            "service": SERVICE,
            "image": IMAGE,
            "steps": [50, 100],
            "reason": "Fixes the checkout on phones",
            "idempotency_key": None,
        },
    )
    assert not asked.is_error, asked
    answer = asked.structured_content
    approval = answer["approval"]["id"]
    assert answer["written_by_requester"]["reason"] == "Fixes the checkout on phones", answer
    assert "reason" not in answer["approval"], answer
    tell("asked", id=approval, code=answer["approval"]["short_code"], url=answer["approval"]["url"])

    over = answer
    while not over["is_over"]:
        waited = await client.call_tool(
            "wait_for_approval", {"id": approval, "wait_seconds": 20}, progress_callback=progress
        )
        assert not waited.is_error, waited
        over = waited.structured_content
    tell("over", status=over["approval"]["status"], next=over["next"])

    proof = (await client.call_tool("get_evidence", {"id": approval})).structured_content
    contents = (await client.read_resource(proof["resource"])).contents
    with open(EVIDENCE, "w", encoding="utf-8", newline="") as file:
        file.write(contents[0].text)
    digest = hashlib.sha256(contents[0].text.encode()).hexdigest()
    tell("proof", **proof, read=digest)

    uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
    assert "countersign://environments/production/policy" in uris, uris
    assert f"countersign://approvals/{approval}" in uris, uris
    policy = (await client.read_resource(uris[0])).contents[0].text
    tell("policy", digest=hashlib.sha256(policy.encode()).hexdigest())


async def main():
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {TOKEN}"}, timeout=httpx2.Timeout(60)
    ) as http:
        transport = streamable_http_client(f"{GATE}/mcp", http_client=http)
        callback = {"elicitation_callback": show_page} if SHOWS_PAGES else {}
        async with Client(transport, mode=MODE, **callback) as client:
            await story(client)


asyncio.run(main())
