//! A private PostgreSQL with TLS, a gateway before it, and somebody in Python's place who answers logins.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocols::scram::{Verifier, salt_of};
use relay::Gateway;
use serde_json::{Value, json};

/// The token of identity `agent`.
pub const TOKEN: &str = "pst_abcdefghij_0123456789abcdefghijklmnopqrstuv";
/// A second live token of the same identity.
pub const OTHER_TOKEN: &str = "pst_bcdefghijk_0123456789abcdefghijklmnopqrstuv";
/// The clear token of identity `pipeline`.
pub const CLEAR: &str = "signed.by.issuer";

/// A running PostgreSQL. It stops, and its files go, when this process ends.
pub struct Cluster {
    pub port: u16,
    pub folder: PathBuf,
    _stop: std::process::ChildStdin,
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn as_postgres(program: &Path) -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn programs() -> PathBuf {
    let found = Command::new("pg_config").arg("--bindir").output();
    let named = found.ok().filter(|out| out.status.success()).map(|out| String::from_utf8(out.stdout).unwrap());
    let candidates = named.iter().map(|text| text.trim()).chain(["/usr/lib/postgresql/15/bin"]);
    candidates.map(PathBuf::from).find(|path| path.join("initdb").exists()).expect("PostgreSQL's server programs")
}

/// A port nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Certificates: an authority, a server signed by it, a client signed by it, and a stranger.
fn certificates(folder: &Path) {
    let script = r#"
        set -e
        key() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2"; }
        sign() { printf '%s\n' "$3" > "$1.ext"; openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -"$2" -extfile "$1.ext" -out "$1.crt"; }
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=authority
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout stranger.key -out stranger.crt -days 30 -subj /CN=stranger
        key server localhost; sign server sha256 subjectAltName=DNS:localhost
        key gateway localhost; sign gateway sha384 subjectAltName=DNS:localhost,DNS:shop.example,IP:127.0.0.1
        key client cert_user; sign client sha256 extendedKeyUsage=clientAuth
        chmod 0600 *.key
    "#;
    run(Command::new("sh").arg("-c").arg(script).current_dir(folder));
}

const HBA: &str = "
host     all md5_user   127.0.0.1/32 md5
host     all clear_user 127.0.0.1/32 password
hostssl  all cert_user  127.0.0.1/32 cert
hostssl  all tls_user   127.0.0.1/32 scram-sha-256
hostnossl all tls_user  127.0.0.1/32 reject
hostssl  all plain_user 127.0.0.1/32 reject
hostnossl all plain_user 127.0.0.1/32 scram-sha-256
host     all all        127.0.0.1/32 scram-sha-256
local    all all        trust
";

const ROLES: &str = "
create role reader login password 'target-secret';
set password_encryption = 'md5';
create role md5_user login password 'target-secret';
create role clear_user login password 'target-secret';
set password_encryption = 'scram-sha-256';
create role cert_user login;
create role tls_user login password 'target-secret';
create role plain_user login password 'target-secret';
create role rooty login superuser password 'target-secret';
create role filer login password 'target-secret';
grant pg_read_server_files to filer;
create role sneaky login password 'target-secret';
grant rooty to sneaky;
create role owner_role nologin;
grant owner_role to reader;
";

/// The one cluster of this test program.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("penstock-pg").tempdir_in("/tmp").unwrap().keep();
        certificates(&folder);
        let (programs, port, data) = (programs(), free_port(), folder.join("data"));
        // Works as root alone, and only then is needed.
        let _ = Command::new("chown").args(["-R", "postgres"]).arg(&folder).output();
        let initdb = ["-A", "trust", "-U", "postgres", "--no-sync", "-D"];
        run(as_postgres(&programs.join("initdb")).args(initdb).arg(&data));
        std::fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let (server, socket) = (folder.join("server"), folder.to_str().unwrap());
        let options = format!(
            "port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{socket}'\nssl=on\nfsync=off\n\
             ssl_cert_file='{0}.crt'\nssl_key_file='{0}.key'\nssl_ca_file='{socket}/ca.crt'\nmax_connections=200\n",
            server.display(),
        );
        let mut config = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        config.push_str(&options);
        std::fs::write(data.join("postgresql.conf"), config).unwrap();
        let mut postgres = as_postgres(&programs.join("postgres"));
        postgres.arg("-D").arg(&data);
        // The shell waits for its standard input to end, which it does when this process does, however it does.
        let line = std::iter::once(postgres.get_program()).chain(postgres.get_args());
        let line: Vec<String> = line.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let script = format!(
            "{} >'{folder}/log' 2>&1 & pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid; rm -rf '{folder}'",
            line.join(" "),
            folder = folder.display()
        );
        let mut keeper =
            Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let cluster = Cluster { port, folder, _stop: keeper.stdin.take().unwrap() };
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.admin("postgres", "select 1").is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster.admin("postgres", ROLES).unwrap();
        cluster.admin("postgres", "create database shop").unwrap();
        cluster.admin("shop", "create table t (id int, name text); insert into t select i, 'row ' || i from generate_series(1, 1000) i; grant all on t to public").unwrap();
        cluster
    })
}

impl Cluster {
    /// Runs SQL as the superuser, past the gateway.
    pub fn admin(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-c", sql]);
        let output = psql.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }
}

/// A gateway and its control side.
pub struct House {
    pub gateway: Arc<Gateway>,
    pub port: u16,
    pub events: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
    control: Option<JoinHandle<()>>,
    _trail: tempfile::TempDir,
}

/// The settings of a gateway before the cluster. Tests change what they are about.
pub fn settings(trail: &Path) -> Value {
    let cluster = cluster();
    let rounds = NonZeroU32::new(4096).unwrap();
    let verifier = |token: &str| {
        let text = scram_text(token);
        assert_eq!(Verifier::parse(&text), Ok(Verifier::of(token, &salt_of("agent"), rounds)));
        text
    };
    json!({
        "version": 1, "generation": 1, "hash": "00",
        "listeners": {"postgres": {"bind": "127.0.0.1:0", "tls": {"cert": cluster.pem("gateway.crt"), "key": cluster.pem("gateway.key")}}},
        "trail": {"store": trail.join("trail"), "durability": "process", "node": "n1", "segment_bytes": 16_777_216},
        "spool": {"directory": trail.join("spool"), "bytes": 67_108_864},
        "session": {"max_seconds": 28_800},
        "limits": {"connections": 100, "connections_per_identity": 50, "login_seconds": 15, "message_bytes": 67_108_864, "statement_bytes": 1_048_576},
        "targets": [{
            "name": "shop", "protocol": "postgres", "labels": {}, "address": format!("localhost:{}", cluster.port),
            "databases": ["shop"], "server_names": ["shop.example"],
            "tls": {"mode": "prefer", "ca": null, "cert": null, "key": null},
            "credentials": {"default": {"user": "reader", "password": "target-secret", "set_role": null, "cert": null, "key": null}},
            "unclassified": {"default": "pass", "except": []},
            "mode": "enforce", "record": {"results": "full"}, "accept_superuser": false, "connect_seconds": 5,
        }],
        "classes": [],
        "rules": [{"name": "all", "allow": ["write", "ddl", "copy_in", "copy_out", "call"],
                   "functions": ["pg_sleep", "pg_backend_pid", "current_setting"]}],
        "identities": [
            {"name": "agent", "groups": ["agents"], "login": "scram", "mode": "enforce", "tokens": [
                {"id": "abcdefghij", "verifier": verifier(TOKEN), "expires": null},
                {"id": "bcdefghijk", "verifier": verifier(OTHER_TOKEN), "expires": null}]},
            {"name": "expired", "groups": [], "login": "scram", "mode": "enforce", "tokens": [
                {"id": "abcdefghij", "verifier": verifier(TOKEN), "expires": 1}]},
            {"name": "revoked", "groups": [], "login": "clear", "mode": "enforce", "tokens": []},
            {"name": "ignored", "groups": [], "login": "clear", "mode": "enforce", "tokens": []},
            {"name": "brief", "groups": [], "login": "clear", "mode": "enforce", "tokens": []},
            {"name": "pipeline", "groups": [], "login": "clear", "mode": "enforce", "tokens": []}],
    })
}

/// `SCRAM-SHA-256$…` for identity `agent`, computed with other tools than ours.
fn scram_text(password: &str) -> String {
    let script = "
import sys, hashlib, hmac, base64
p = sys.argv[1].encode(); salt = hashlib.sha256(b'penstock-scram-salt:agent').digest()[:16]
k = hashlib.pbkdf2_hmac('sha256', p, salt, 4096)
c = hmac.new(k, b'Client Key', 'sha256').digest(); s = hmac.new(k, b'Server Key', 'sha256').digest()
b = lambda x: base64.b64encode(x).decode()
print(f'SCRAM-SHA-256$4096:{b(salt)}${b(hashlib.sha256(c).digest())}:{b(s)}')";
    run(Command::new("python3").args(["-c", script, password])).trim().to_owned()
}

/// Starts a gateway with settings changed by `change`.
pub fn house(change: impl FnOnce(&mut Value)) -> House {
    let trail = tempfile::tempdir().unwrap();
    let mut settings = settings(trail.path());
    change(&mut settings);
    let gateway = Arc::new(Gateway::open(settings.to_string().as_bytes()).unwrap());
    let started = gateway.start().unwrap();
    let address: std::net::SocketAddr = started["listeners"]["postgres"].as_str().unwrap().parse().unwrap();
    let (events, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let control = {
        let (gateway, events, stop) = (gateway.clone(), events.clone(), stop.clone());
        std::thread::spawn(move || control(&gateway, &events, &stop))
    };
    House { gateway, port: address.port(), events, stop, control: Some(control), _trail: trail }
}

/// Python's part: knows one clear token, and that every proven static token is good.
fn control(gateway: &Gateway, events: &Mutex<Vec<Value>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for event in gateway.take_events(64) {
            let event: Value = serde_json::from_slice(&event).unwrap();
            if event["type"] == "login" && event["user"] != "ignored" {
                let answer = judge(&event);
                gateway.answer(event["id"].as_u64().unwrap(), answer.to_string().as_bytes()).unwrap();
            }
            events.lock().unwrap().push(event);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn judge(event: &Value) -> Value {
    let proof = &event["proof"];
    let good = proof["kind"] == "scram" || proof["secret"] == CLEAR;
    if !good || event["user"] == "revoked" {
        return json!({"ok": false, "reason": "test"});
    }
    let until = (event["user"] == "brief").then_some(1);
    json!({"ok": true, "until": until, "principal": {
        "identity": event["user"], "issuer": null, "subject": null, "groups": ["agents"], "token": proof["token"]}})
}

impl House {
    /// The events so far.
    pub fn seen(&self, kind: &str) -> Vec<Value> {
        self.events.lock().unwrap().iter().filter(|event| event["type"] == kind).cloned().collect()
    }

    /// Waits until `ready` says so.
    pub fn until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ready() {
            assert!(Instant::now() < deadline, "{what} did not come; events: {:?}", self.events.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A psql command as identity `agent`.
    pub fn psql(&self, options: &str) -> Command {
        let dsn = format!("host=127.0.0.1 port={} user=agent dbname=shop {options}", self.port);
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &dsn]);
        psql.env("PGPASSWORD", TOKEN).stdin(Stdio::null());
        psql
    }

    /// What psql prints for one statement.
    pub fn ask(&self, options: &str, sql: &str) -> Result<String, String> {
        told(self.psql(options).args(["-c", sql]).output().unwrap())
    }

    /// A raw connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }
}

/// Standard output, or standard error if the program failed.
pub fn told(output: Output) -> Result<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

impl Drop for House {
    fn drop(&mut self) {
        let stopped = self.gateway.stop();
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.control.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            stopped.unwrap();
            ended.unwrap().unwrap();
        }
    }
}

/// A start-up packet of protocol 3.`minor`.
pub fn startup(minor: u32, settings: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3 << 16 | minor).to_be_bytes().to_vec();
    for (name, value) in settings {
        body.extend_from_slice(&[name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    packet(&body)
}

/// A packet without a tag.
pub fn packet(body: &[u8]) -> Vec<u8> {
    [&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes(), body].concat()
}

/// Reads one tagged message.
pub fn message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// Sends a tagged message.
pub fn send(stream: &mut TcpStream, tag: u8, body: &[u8]) {
    stream.write_all(&[&[tag][..], &packet(body)].concat()).unwrap();
}

/// Reads messages until one with `tag`; all of them.
pub fn messages_to(stream: &mut TcpStream, tag: u8) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let next = message(stream);
        let last = next.0 == tag;
        all.push(next);
        if last {
            return all;
        }
    }
}

/// The fields of an ErrorResponse: severity, SQLSTATE, message.
pub fn error(body: &[u8]) -> (String, String, String) {
    let field = |tag: u8| {
        let found = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&tag));
        String::from_utf8(found.map(|field| field[1..].to_vec()).unwrap_or_default()).unwrap()
    };
    (field(b'S'), field(b'C'), field(b'M'))
}

/// The fatal error that must come next, and the end of the connection after it.
pub fn fatal(stream: &mut TcpStream) -> (String, String) {
    let (tag, body) = message(stream);
    assert_eq!(tag, b'E');
    let (severity, code, text) = error(&body);
    assert_eq!(severity, "FATAL");
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the connection ends");
    (code, text)
}

/// A raw connection logged in as `pipeline`, in clear over loopback, and the cancel key it was given.
pub fn clear_login(house: &House, minor: u32) -> (TcpStream, Vec<u8>) {
    let mut stream = house.connect();
    stream.write_all(&startup(minor, &[("user", "pipeline"), ("database", "shop")])).unwrap();
    assert_eq!(message(&mut stream), (b'R', vec![0, 0, 0, 3]));
    send(&mut stream, b'p', &[CLEAR.as_bytes(), b"\0"].concat());
    let all = messages_to(&mut stream, b'Z');
    let key = all.iter().find(|(tag, _)| *tag == b'K').unwrap().1.clone();
    (stream, key)
}
