"""What a manifest points to: secrets, PEM files, folders. Read once, while the manifest is loaded."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema
from typing_extensions import override

from penstock.logs import redact

MAX_SECRET = 64 * 1024
MAX_PEM = 4 * 1024 * 1024


def wrong(message: str, hint: str | None = None) -> PydanticCustomError:
    """A validation error that already speaks to a person."""
    return PydanticCustomError("penstock", "{message}", {"message": message, "hint": hint})


def shown(value: object, most: int = 60) -> str:
    """A value as a problem may quote it: short, and without what could be a secret. Problems end up in logs."""
    text = redact(str(value))
    return text if len(text) <= most else text[: most - 3] + "…"


def read_regular(path: Path, most: int) -> tuple[bytes | None, os.stat_result]:
    """At most that many bytes of a regular file; None if it is something else, which is never waited for."""
    # Not blocking, because opening a named pipe would otherwise wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None, facts
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most), facts
    finally:
        os.close(descriptor)


class Resolver:
    """Where relative paths start and where environment variables come from."""

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory.absolute()
        self.environ = os.environ if environ is None else environ

    @classmethod
    def of(cls, info: ValidationInfo) -> Resolver:
        """The resolver of this validation; the current folder's if none was given."""
        given = info.context
        return given if isinstance(given, Resolver) else cls(Path.cwd())

    def path(self, text: str) -> Path:
        """An absolute path, relative ones starting at the manifest."""
        if "-----BEGIN " in text:
            raise wrong("a key or certificate must not stand in the manifest", "write the path of its file")
        return Path(os.path.normpath(self.directory / Path(text).expanduser()))

    def variable(self, name: str) -> str:
        """The value of an environment variable, which must not be empty."""
        value = self.environ.get(name)
        # Whoever writes the secret itself in the name's place should not find it in a log.
        named = name if re.fullmatch("[A-Z_][A-Z0-9_]*", name) else "named here"
        if value is None:
            hint = f"export {named}=… before starting penstock" if named == name else "env: takes a variable's name"
            raise wrong(f"the environment variable {named} is not set", hint)
        if not value:
            raise wrong(f"the environment variable {named} is empty", "a secret needs at least one character")
        return value

    def read(self, text: str, most: int) -> tuple[Path, str, int]:
        """A regular file's path, its text and its permission bits."""
        path = self.path(text)
        try:
            content, facts = read_regular(path, most + 1)
            if content is None:
                raise wrong(f"{path} is not a regular file")
        except FileNotFoundError:
            raise wrong(f"there is no file {path}", "relative paths start at the manifest's folder") from None
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or str(error)
            raise wrong(f"{text} cannot be read: {told}", "penstock must be able to read it") from None
        if len(content) > most:
            raise wrong(f"{path} is larger than {most // 1024} KiB", "is it the right file?")
        try:
            return path, content.decode(), stat.S_IMODE(facts.st_mode)
        except UnicodeDecodeError:
            raise wrong(f"{path} is not UTF-8 text", "is it the right file?") from None


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(f"{what} must be text, found {kind(value)}")
    if "\0" in value:
        raise wrong(f"{what} must not contain the character NUL")
    return value


def kind(value: Any) -> str:
    """What a YAML value is, in words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text" if value else "empty text"
        case dict():
            return "a mapping"
        case _:
            return "a list"


class Source:
    """What stands in a manifest as a reference. Shown, hashed and dumped as that, never as the content."""

    shape: ClassVar[JsonSchemaValue]

    def reference(self) -> Any:
        """What the manifest says."""
        raise NotImplementedError

    @property
    def warning(self) -> tuple[str, str] | None:
        """What is doubtful about it, and a hint."""
        return None

    @property
    def file(self) -> Path | None:
        """The file whose change is a change of the manifest."""
        return None

    @classmethod
    def resolve(cls, value: Any, resolver: Resolver) -> Any:
        """Reads what the manifest's value points to."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def validate(value: Any, info: ValidationInfo) -> Any:
            return value if isinstance(value, cls) else cls.resolve(value, Resolver.of(info))

        return core_schema.with_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda each: each.reference()),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(cls.shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference()!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(repr(self.reference()))


class Secret(Source):
    """A secret named by `{env: NAME}` or `{file: path}`. Its text never appears in a representation or a dump."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "object",
        "description": "Where a secret comes from; the secret itself never stands in the manifest.",
        "properties": {
            "env": {"type": "string", "description": "Name of an environment variable."},
            "file": {"type": "string", "description": "Path of a file; one newline at its end is not part of it."},
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }

    def __init__(
        self, text: str, *, origin: Literal["env", "file", "memory"], name: str, path: Path | None = None, mode: int = 0
    ) -> None:
        self._text = text
        self._origin = origin
        self._name = name
        self._path = path
        self._mode = mode

    @classmethod
    def of(cls, text: str, name: str = "generated") -> Secret:
        """A secret made by the program itself, for manifests that never stand in a file."""
        return cls(text, origin="memory", name=name)

    def reveal(self) -> str:
        """The secret itself. Ask only where it is used."""
        return self._text

    @override
    def reference(self) -> dict[str, str]:
        return {self._origin: self._name}

    @property
    @override
    def file(self) -> Path | None:
        return self._path

    @property
    @override
    def warning(self) -> tuple[str, str] | None:
        if self._path is not None and self._mode & 0o007:
            return f"other users of this machine can read {self._path}", f"chmod 600 {self._path}"
        return None

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> Secret:
        if not isinstance(value, dict):
            raise wrong("a secret must not stand in the manifest", "write {env: NAME} or {file: path}")
        match list(value.items()):
            case [("env", name)]:
                return cls(resolver.variable(_text(name, "env")), origin="env", name=name)
            case [("file", name)]:
                path, content, mode = resolver.read(_text(name, "file"), MAX_SECRET)
                content = content.removesuffix("\n").removesuffix("\r")
                if not content:
                    raise wrong(f"{path} is empty", "a secret needs at least one character")
                return cls(_text(content, str(path)), origin="file", name=name, path=path, mode=mode)
        raise wrong("a secret is named by exactly one of env and file", "write {env: NAME} or {file: path}")


class Certificates(Source):
    """A PEM file with certificates."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "string",
        "description": "Path of a PEM file, relative to the manifest.",
    }

    def __init__(self, name: str, path: Path, text: str) -> None:
        self._name = name
        self.path = path
        self.text = text

    @override
    def reference(self) -> str:
        return self._name

    @property
    @override
    def file(self) -> Path | None:
        return self.path

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> Certificates:
        path, text, _ = resolver.read(_text(value, "a path"), MAX_PEM)
        _check_certificates(text, path)
        return cls(value, path, text)


class Authorities(Certificates):
    """CA certificates: a PEM file, or the word `system` for what the machine trusts."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "string",
        "description": "Path of a PEM file with CA certificates, or `system`.",
    }

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> Authorities:
        if value != "system":
            path, text, _ = resolver.read(_text(value, "a path"), MAX_PEM)
            _check_certificates(text, path)
            return cls(value, path, text)
        return cls.system()

    @classmethod
    def system(cls) -> Authorities:
        """What the machine trusts."""
        bundle = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        try:
            text = Path(bundle).read_text()
        except (OSError, UnicodeDecodeError):
            raise wrong("this machine has no bundle of CA certificates", "name a PEM file: ca: ca.pem") from None
        return cls("system", Path(bundle), text)


class PrivateKey(Source):
    """A PEM file with a private key without a passphrase."""

    shape: ClassVar[JsonSchemaValue] = {
        "type": "string",
        "description": "Path of a PEM file with a private key, relative to the manifest.",
    }

    def __init__(self, name: str, path: Path, text: str, mode: int) -> None:
        self._name = name
        self.path = path
        self._text = text
        self._mode = mode

    def reveal(self) -> str:
        """The PEM text."""
        return self._text

    @override
    def reference(self) -> str:
        return self._name

    @property
    @override
    def file(self) -> Path | None:
        return self.path

    @property
    @override
    def warning(self) -> tuple[str, str] | None:
        if self._mode & 0o007:
            return f"other users of this machine can read {self.path}", f"chmod 600 {self.path}"
        return None

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> PrivateKey:
        path, text, mode = resolver.read(_text(value, "a path"), MAX_PEM)
        if "PRIVATE KEY-----" not in text:
            raise wrong(f"{path} holds no private key in PEM form", "it should begin with -----BEGIN PRIVATE KEY-----")
        if "ENCRYPTED" in text:
            raise wrong(
                f"the private key in {path} has a passphrase", "remove it: openssl pkey -in key.pem -out plain.pem"
            )
        return cls(value, path, text, mode)


class LocalPath(Source):
    """A path on this machine that need not exist yet, relative to the manifest."""

    shape: ClassVar[JsonSchemaValue] = {"type": "string", "description": "A path, relative to the manifest."}

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self.path = path

    @override
    def reference(self) -> str:
        return self._name

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> Any:
        return cls(_text(value, "a path"), resolver.path(value))


class KeySet(LocalPath):
    """A JWKS file, which whoever verifies tokens reads again when it changes."""

    @property
    @override
    def file(self) -> Path | None:
        return self.path

    @classmethod
    @override
    def resolve(cls, value: Any, resolver: Resolver) -> KeySet:
        path, text, _ = resolver.read(_text(value, "a path"), MAX_PEM)
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise wrong(f"{path} is not JSON: {error.msg}", 'a JWKS file looks like {"keys": [...]}') from None
        if not isinstance(content, dict) or not isinstance(content.get("keys"), list) or not content["keys"]:
            raise wrong(f"{path} holds no keys", 'a JWKS file looks like {"keys": [...]}')
        return cls(value, path)


def check_pair(certificate: Certificates, key: PrivateKey) -> None:
    """Refuses a certificate and a private key that do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate.path, key.path, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise wrong(
                f"the key {key.path.name} does not belong to the certificate {certificate.path.name}",
                "the first certificate in the file must be the key's own",
            ) from None
        told = error.reason or str(error)
        raise wrong(f"{certificate.path.name} and {key.path.name} cannot be used: {told}") from None
    except OSError as error:
        raise wrong(f"{certificate.path.name} and {key.path.name} cannot be read: {error.strerror}") from None


def _check_certificates(text: str, path: Path) -> None:
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise wrong(f"{path} holds no certificate in PEM form", "it should begin with -----BEGIN CERTIFICATE-----")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text.encode("ascii", "ignore").decode())
    except (ssl.SSLError, ValueError) as error:
        told = getattr(error, "reason", None) or str(error)
        raise wrong(f"the certificates in {path} cannot be read: {told}") from None


def scram_salt(identity: str) -> bytes:
    """The salt of every verifier of an identity; the native part derives the same for names that do not exist."""
    return hashlib.sha256(f"penstock-scram-salt:{identity}".encode()).digest()[:16]
