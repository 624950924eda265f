"""Makes and reads the webhooks' own certificates: the one place that `cryptography` is used.

Called by `activator_hooks.webhook.keeper`, which keeps them as the four files of a Secret and asks core when to renew.
Authorities are kept in one bundle, newest first; only the newest's key is kept. What cannot be read, or does not belong
together, is as if it were not there: all of it can be made anew.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from knative_mig.core.admission.renewal import AUTHORITY_S, SERVER_S, Authority, Held, Step

AUTHORITIES: Final = "ca.crt"
AUTHORITY_KEY: Final = "ca.key"
SERVER: Final = "tls.crt"
SERVER_KEY: Final = "tls.key"
FILES: Final = (AUTHORITIES, AUTHORITY_KEY, SERVER, SERVER_KEY)

Files = Mapping[str, bytes]
_BACKDATED: Final = timedelta(minutes=10)  # clocks differ
_MOST_AUTHORITIES: Final = 3  # of which one signs and one did before
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def held(files: Files, names: Sequence[str]) -> Held | None:
    """None: there is nothing that one could go on from."""
    authorities = _authorities(files)
    if not authorities:
        return None
    server = _loaded(files.get(SERVER, b""))
    key, server_key = _key(files.get(AUTHORITY_KEY, b"")), _key(files.get(SERVER_KEY, b""))
    whole = server is not None and server_key is not None and server_key.public_key() == server.public_key()
    signer = next((each for each in authorities if server and whole and _signed(server, each)), None)
    return Held(
        authorities=tuple(
            Authority(
                id=_id(each),
                since=(each.not_valid_before_utc + _BACKDATED).timestamp(),
                until=each.not_valid_after_utc.timestamp(),
            )
            for each in authorities
        ),
        can_sign=key is not None and key.public_key() == authorities[0].public_key(),
        signed_by=_id(signer) if signer else "",
        server_until=server.not_valid_after_utc.timestamp() if server else 0.0,
        names_match=server is not None and _names(server) == set(names),
    )


def after(step: Step, files: Files, names: Sequence[str], now: float) -> Files:
    """What is to be kept instead."""
    match step:
        case Step.KEEP:
            return files
        case Step.NEW_AUTHORITY:
            at = datetime.fromtimestamp(now, UTC)
            key, authority = _new_authority(at)
            former = [each for each in _authorities(files) if each.not_valid_after_utc > at]
            bundle = b"".join(_pem(each) for each in [authority, *former][:_MOST_AUTHORITIES])
            kept = {name: files[name] for name in (SERVER, SERVER_KEY) if name in files}
            return {**kept, AUTHORITIES: bundle, AUTHORITY_KEY: _key_pem(key)}
        case Step.SIGN:
            authority, signs = _authorities(files)[0], _key(files[AUTHORITY_KEY])
            assert signs
            key, server = _new_server(authority, signs, names, datetime.fromtimestamp(now, UTC))
            return {**files, SERVER: _pem(server), SERVER_KEY: _key_pem(key)}


def _new_authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own: two authorities of one name could not be told apart by whoever looks for a signer.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"knative-mig-webhook {serial:x}"[:64])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _builder(name, name, key, now, AUTHORITY_S)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, made


def _new_server(
    authority: x509.Certificate, signs: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signs.public_key())
    made = (
        _builder(subject, authority.subject, key, now, SERVER_S)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(signs, hashes.SHA256())
    )
    return key, made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life_s: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(seconds=life_s))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authorities(files: Files) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(files.get(AUTHORITIES, b""))[:_MOST_AUTHORITIES]
    except _UNREADABLE:
        return []


def _loaded(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem)
    except _UNREADABLE:
        return None


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except _UNREADABLE:
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _signed(server: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        server.verify_directly_issued_by(authority)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _names(server: x509.Certificate) -> set[str]:
    try:
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names.get_values_for_type(x509.DNSName))
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE):
        return set()


def _id(authority: x509.Certificate) -> str:
    return authority.fingerprint(hashes.SHA256()).hex()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
