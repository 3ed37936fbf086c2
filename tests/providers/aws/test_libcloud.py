"""What libcloud carries: the same requests as boto3's, the same answers, in every region, at every endpoint, from every thread."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from aws.bed import REGION, Bed
from aws.sample import Sample
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from i2kit.errors import ProviderError, TransientError
from i2kit_aws import _libcloud
from i2kit_aws.gateway import AwsError, Gateway
from i2kit_aws.settings import Settings

REFUSED = "SomeRefusal"
GATEWAY, NETWORK, SUBNET, TABLE, GROUP = "igw-0123456789abcdef0", "vpc-0123456789abcdef0", "subnet-1", "rtb-1", "sg-1"
ROUTE = {"RouteTableId": TABLE, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": GATEWAY}
MINE = [{"Name": "tag:i2kit:environment", "Values": ["prod"]}, {"Name": "state", "Values": ["available", "pending"]}]
# One request and more for each row of the table.
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "AssociateRouteTable": [{"RouteTableId": TABLE, "SubnetId": SUBNET}],
    "AttachInternetGateway": [{"InternetGatewayId": GATEWAY, "VpcId": NETWORK}],
    "CreateRoute": [ROUTE],
    "DeleteInternetGateway": [{"InternetGatewayId": GATEWAY}],
    "DeleteRouteTable": [{"RouteTableId": TABLE}],
    "DeleteSecurityGroup": [{"GroupId": GROUP}],
    "DeleteSnapshot": [{"SnapshotId": "snap-1"}],
    "DeleteSubnet": [{"SubnetId": SUBNET}],
    "DeleteVpc": [{"VpcId": NETWORK}],
    "DeregisterImage": [{"ImageId": "ami-1"}],
    "DescribeImages": [{"Owners": ["self"], "Filters": MINE}, {"ImageIds": ["ami-1", "ami-2"]}, {}],
    "DescribeInstances": [{"Filters": MINE}, {"InstanceIds": ["i-1", "i-2"]}, {}],
    "DescribeInternetGateways": [{"Filters": MINE}, {"InternetGatewayIds": [GATEWAY]}],
    "DescribeRouteTables": [{"Filters": MINE}, {"RouteTableIds": [TABLE]}],
    "DescribeSecurityGroups": [{"Filters": MINE}, {"GroupIds": [GROUP]}],
    "DescribeSnapshots": [{"SnapshotIds": ["snap-1"]}, {"OwnerIds": ["self"]}],
    "DescribeSubnets": [{"Filters": MINE}, {"SubnetIds": [SUBNET]}],
    "DescribeVpcs": [{"Filters": MINE}, {"VpcIds": [NETWORK]}, {"Filters": [{"Name": "cidr", "Values": ["10.0.0.0/16~*?"]}]}],
    "DetachInternetGateway": [{"InternetGatewayId": GATEWAY, "VpcId": NETWORK}],
    "DisassociateRouteTable": [{"AssociationId": "rtbassoc-1"}],
    "ModifySubnetAttribute": [
        {"SubnetId": SUBNET, "MapPublicIpOnLaunch": {"Value": True}},
        {"SubnetId": SUBNET, "MapPublicIpOnLaunch": {"Value": False}},
    ],
    "ReleaseAddress": [{"AllocationId": "eipalloc-1"}],
    "ReplaceRoute": [ROUTE],
    "ReplaceRouteTableAssociation": [{"AssociationId": "rtbassoc-1", "RouteTableId": TABLE}],
}
EACH = [(name, given) for name, all_given in REQUESTS.items() for given in all_given]
# What libcloud's methods would leave out, or get wrong: these go to boto3.
DECLINED: list[tuple[str, dict[str, Any]]] = [
    ("CreateRoute", {"RouteTableId": TABLE, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}),
    ("DeleteSecurityGroup", {"GroupName": "web"}),
    ("DescribeImages", {"Owners": ["self", "amazon"]}),
    ("DescribeVpcs", {"NextToken": "more"}),
    ("DescribeVpcs", {"MaxResults": 5}),
    ("DescribeVpcs", {"Filters": [{"Name": "tag:Name", "Values": ["two words"]}]}),
    ("DescribeVpcs", {"Filters": [{"Name": "state", "Values": ["available"]}, {"Name": "state", "Values": ["pending"]}]}),
    ("DescribeSnapshots", {"OwnerIds": ["self"], "Filters": MINE}),
    ("DescribeSnapshots", {"SnapshotIds": ["snap-1", "snap-2"]}),
    ("ModifySubnetAttribute", {"SubnetId": SUBNET, "AssignIpv6AddressOnCreation": {"Value": True}}),
    ("GetConsoleOutput", {"InstanceId": "i-1", "Latest": True}),
    ("DeleteVpc", {"VpcId": NETWORK, "DryRun": True}),
]


@pytest.fixture
def gateway(as_user: Bed) -> Gateway:
    return Gateway.connect(Settings(region=REGION))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """All requests that libcloud sends."""
    sent: list[requests.PreparedRequest] = []
    made = _libcloud._Response.__init__

    def seen(self: object, response: requests.Response, connection: object) -> None:
        sent.append(response.request)
        made(self, response, connection)  # type: ignore[arg-type]

    monkeypatch.setattr(_libcloud._Response, "__init__", seen)
    return sent


def test_every_row_of_the_table_is_tried_here() -> None:
    assert sorted(REQUESTS) == sorted(_libcloud.CARRIED)


@pytest.mark.parametrize(("operation", "given"), EACH)
def test_a_request_says_what_boto3s_says(
    gateway: Gateway, bed: Bed, sent: list[requests.PreparedRequest], operation: str, given: dict[str, Any]
) -> None:
    bed.faults.fail("ec2:*", times=-1, code=REFUSED, status=400)
    with pytest.raises(AwsError) as refused:
        gateway.call("ec2", operation, **given)
    assert (refused.value.code, len(sent)) == (REFUSED, 1)
    with pytest.raises(ClientError, match=REFUSED):
        bed.client("ec2")._make_api_call(operation, given)
    one, other = bed.journal()
    assert (one["action"], one["parameters"]) == (other["action"], other["parameters"])
    assert one["region"] == REGION


@pytest.mark.parametrize(("operation", "given"), DECLINED)
def test_what_libcloud_would_get_wrong_is_boto3s(
    gateway: Gateway, bed: Bed, sent: list[requests.PreparedRequest], operation: str, given: dict[str, Any]
) -> None:
    bed.faults.fail("ec2:*", times=-1, code=REFUSED, status=400)
    with pytest.raises(AwsError, match=REFUSED):
        gateway.call("ec2", operation, **given)
    assert sent == []
    assert [one["action"] for one in bed.journal()] == [f"ec2:{operation}"]


def furnish(aws: Sample) -> list[tuple[str, dict[str, Any]]]:
    """Put something of each kind into the account, and return questions about it."""
    assert aws.gateway
    network = [{"Name": "vpc-id", "Values": [aws.vpc]}]
    aws.security_group()
    image = aws.image()
    aws.ec2.create_tags(Resources=[image, aws.vpc], Tags=[{"Key": "i2kit:environment", "Value": "prod"}])
    aws.ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=2, MaxCount=2, SubnetId=aws.subnets[0])
    return [
        ("DescribeImages", {"Owners": ["self"]}),
        ("DescribeInstances", {"Filters": network}),
        ("DescribeInternetGateways", {"InternetGatewayIds": [aws.gateway]}),
        ("DescribeRouteTables", {"Filters": network}),
        ("DescribeSecurityGroups", {"Filters": network}),
        ("DescribeSnapshots", {"OwnerIds": ["self"]}),
        ("DescribeSubnets", {"Filters": network}),
        ("DescribeVpcs", {"Filters": [{"Name": "tag:i2kit:environment", "Values": ["prod"]}]}),
    ]


@pytest.mark.parametrize("kind", ["bed", "stock"])
def test_an_answer_is_boto3s_with_nothing_lost(
    request: pytest.FixtureRequest, as_user: Bed, monkeypatch: pytest.MonkeyPatch, sent: list[requests.PreparedRequest], kind: str
) -> None:
    """Stock moto's XML has another namespace than AWS's, which libcloud itself reads as nothing at all."""
    aws: Sample = request.getfixturevalue("aws" if kind == "bed" else "stock")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.bed.url)
    gateway = Gateway.connect(Settings(region=REGION))
    questions = furnish(aws)
    for operation, given in questions:
        answer, other = gateway.call("ec2", operation, **given), aws.ec2._make_api_call(operation, given)
        for one in (answer, other):
            assert one.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        assert answer == other, operation
        assert any(answer.values()), operation
    assert len(sent) == len(questions)


def test_what_was_carried_is_done(gateway: Gateway, aws: Sample) -> None:
    vpc = aws.vpc
    aws.ec2.create_tags(Resources=[vpc], Tags=[{"Key": "i2kit:environment", "Value": "prod"}])
    assert gateway.call("ec2", "DeleteVpc", VpcId=vpc)["ResponseMetadata"]["HTTPStatusCode"] == 200
    with pytest.raises(AwsError) as error:
        gateway.call("ec2", "DeleteVpc", VpcId=vpc)
    assert (error.value.code, aws.bed.inventory()) == ("InvalidVpcID.NotFound", {})


def test_further_pages_come_by_boto3(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([{"Vpcs": [1, 2], "NextToken": "more"}, {"Vpcs": [3]}])
    asked = []

    def request(_session: object, *of: Any) -> dict[str, Any]:
        asked.append((_libcloud.carried(of[1], of[2]) is not None, of[2]))
        return next(pages)

    monkeypatch.setattr("i2kit_aws._clients.Session.request", request)
    assert list(gateway.pages("ec2", "DescribeVpcs", "Vpcs", Filters=MINE)) == [1, 2, 3]
    assert asked == [(True, {"Filters": MINE}), (False, {"Filters": MINE, "NextToken": "more"})]


def test_a_page_that_is_its_own_next_ends_it(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2kit_aws._clients.Session.request", lambda *_: {"Vpcs": [1], "NextToken": "more"})
    with pytest.raises(ProviderError, match="the page after this one is this one"):
        list(gateway.pages("ec2", "DescribeVpcs", "Vpcs"))


class Signer(SigV4Auth):  # type: ignore[misc]
    """AWS's own signature of the headers that were signed."""

    def __init__(self, names: str, *given: Any) -> None:
        super().__init__(*given)
        self.names = names.split(";")

    def headers_to_sign(self, request: AWSRequest) -> Any:
        kept = request.headers.__class__()
        for name in self.names:
            kept[name] = request.headers[name]
        return kept


def resigned(request: requests.PreparedRequest, key: str, secret: str, token: str | None) -> str:
    """Return the signature that botocore makes of a request that was sent."""
    said = request.headers["Authorization"]
    names = said.partition("SignedHeaders=")[2].partition(",")[0]
    again = AWSRequest(method=request.method, url=request.url, headers=dict(request.headers.items()))
    again.context["timestamp"] = request.headers["X-AMZ-Date"]
    signer = Signer(names, Credentials(key, secret, token), "ec2", REGION)
    return str(signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again))


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize(("operation", "given"), EACH)
def test_a_signature_is_aws_own(
    as_user: Bed,
    monkeypatch: pytest.MonkeyPatch,
    sent: list[requests.PreparedRequest],
    operation: str,
    given: dict[str, Any],
    token: str | None,
) -> None:
    key, secret = "AKIAIOSFODNN7EXAMPLE", "a/secret+of=nobody"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    as_user.faults.fail("ec2:*", times=-1, code=REFUSED, status=400)
    with pytest.raises(AwsError, match=REFUSED):
        Gateway.connect(Settings(region=REGION)).call("ec2", operation, **given)
    (request,) = sent
    assert request.headers["Authorization"].endswith(f"Signature={resigned(request, key, secret, token)}")
    assert request.headers.get("x-amz-security-token") == token
    assert token is None or "x-amz-security-token" in request.headers["Authorization"]


def test_no_line_of_netrc_takes_the_signatures_place(
    gateway: Gateway, aws: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: list[requests.PreparedRequest]
) -> None:
    (tmp_path / ".netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    gateway.call("ec2", "DescribeVpcs")
    assert sent[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")


def test_libcloud_itself_tries_nothing_again(gateway: Gateway, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS", "true")
    bed.faults.throttle("ec2:DescribeVpcs", times=2)
    gateway.call("ec2", "DescribeVpcs")
    assert bed.calls() == {"ec2:DescribeVpcs": 3}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_answer_is_asked_for_again(gateway: Gateway, aws: Sample, moment: str) -> None:
    vpc = aws.vpc
    aws.bed.faults.cut("ec2:DescribeVpcs", moment, times=2)
    assert [one["VpcId"] for one in gateway.pages("ec2", "DescribeVpcs", "Vpcs", VpcIds=[vpc])] == [vpc]
    aws.bed.faults.cut("ec2:DescribeVpcs", moment, times=-1)
    with pytest.raises(TransientError, match="aws-unreachable"):
        gateway.call("ec2", "DescribeVpcs")


def test_each_thread_has_its_own_driver_and_its_own_answers(gateway: Gateway, aws: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    driver = _libcloud._Driver

    def counted(access: _libcloud.Access) -> Any:
        made.append(threading.get_ident())
        return driver(access)

    monkeypatch.setattr(_libcloud, "_Driver", counted)
    vpcs = [str(aws.ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]) for number in range(8)]
    together = threading.Barrier(len(vpcs), timeout=30)

    def ask(vpc: str) -> set[str]:
        together.wait()
        answers = [gateway.call("ec2", "DescribeVpcs", VpcIds=[vpc])["Vpcs"] for _ in range(10)]
        return {one["VpcId"] for answer in answers for one in answer}

    with ThreadPoolExecutor(len(vpcs)) as pool:
        assert list(pool.map(ask, vpcs)) == [{vpc} for vpc in vpcs]
    assert len(made) == len(set(made)) == len(vpcs)


@pytest.mark.parametrize("region", ["mx-central-1", "eu-central-2", "eu-west-99"])
def test_regions_newer_than_libcloud_work(
    as_user: Bed, monkeypatch: pytest.MonkeyPatch, sent: list[requests.PreparedRequest], region: str
) -> None:
    from libcloud.compute.drivers.ec2 import VALID_EC2_REGIONS

    assert region not in VALID_EC2_REGIONS
    # One that moto knows no more than libcloud does.
    as_user.faults.fail("ec2:*", times=-1, code=REFUSED, status=400)
    with pytest.raises(AwsError, match=REFUSED):
        Gateway.connect(Settings(region=region)).call("ec2", "DescribeVpcs")
    assert len(sent) == 1
    assert [one["region"] for one in as_user.journal()] == [region]


def test_where_ec2_is_without_an_endpoint_of_ones_own(as_user: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for region, host in {"eu-west-1": "amazonaws.com", "mx-central-1": "amazonaws.com", "cn-north-1": "amazonaws.com.cn"}.items():
        session = Gateway.connect(Settings(region=region)).sessions.session()
        driver = _libcloud._Driver(session._access(session.client("ec2")))
        assert (driver.connection.host, driver.connection.port, driver.connection.secure) == (f"ec2.{region}.{host}", 443, True)


CONFIG = """
[profile here]
services = bed
[services bed]
ec2 =
  endpoint_url = {url}
"""


@pytest.mark.parametrize("how", ["the service's variable", "the configuration"])
def test_endpoints_are_honoured_by_both_libraries(
    as_user: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: list[requests.PreparedRequest], how: str
) -> None:
    if how == "the configuration":
        (tmp_path / "config").write_text(CONFIG.format(url=as_user.url))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "here")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", as_user.url)
    gateway = Gateway.connect(Settings(region=REGION))
    for operation in ("DescribeVpcs", "DescribeAddresses"):
        gateway.call("ec2", operation)
    assert as_user.calls() == {"ec2:DescribeVpcs": 1, "ec2:DescribeAddresses": 1}
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://localhost:5000", "http://localhost:5000/"),
        ("http://localhost:5000/some/path/", "http://localhost:5000/some/path/"),
        ("https://proxy.example", "https://proxy.example/"),
        ("http://[::1]:5000", "http://[::1]:5000/"),
    ],
)
def test_endpoints_may_look_like_this(monkeypatch: pytest.MonkeyPatch, url: str, asked: str) -> None:
    seen: list[str] = []

    def send(_: object, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        seen.append(f"{str(request.url).partition('?')[0]} {request.headers['Host']}")
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "send", send)
    access = _libcloud.Access(url=url, region=REGION, key="a", secret="b", token=None)
    method = _libcloud.carried("DescribeVpcs", {})
    assert method
    with pytest.raises(_libcloud.LOST):
        _libcloud.ask(threading.local(), access, method)
    assert seen == [f"{asked} {asked.split('/')[2]}"]


VPCS = b"""<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>
<vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet></DescribeVpcsResponse>"""


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(VPCS)))
        self.end_headers()
        self.wfile.write(VPCS)

    def log_message(self, *_: Any) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust the server goes away."""


@contextmanager
def serving(certificate: Path, key: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(("127.0.0.1", 0), Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"https://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_https_is_checked_against_the_users_own_authorities(as_user: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *made.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with serving(certificate, key) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
            Gateway.connect(Settings(region=REGION)).call("ec2", "DescribeVpcs")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        gateway = Gateway.connect(Settings(region=REGION))
        assert [one["VpcId"] for one in gateway.pages("ec2", "DescribeVpcs", "Vpcs")] == ["vpc-1"]


def test_it_is_loaded_by_those_only_who_need_it() -> None:
    code = "import sys; from i2kit_aws.gateway import Gateway; import i2kit_aws.driver; sys.exit('libcloud' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
