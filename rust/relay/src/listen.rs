//! Listeners and worker threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Fault, FaultKind, Whose};
use protocols::greeting::Entry;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::core::Core;
use crate::serve::{self, Place};

/// Connections the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;

/// A socket on its way to the thread that will serve it.
pub(crate) struct Arrival {
    entry: &'static Entry,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// How far the gateway is in ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It serves.
    Serving,
    /// It accepts nobody any more.
    Draining,
    /// Its threads end.
    Stopping,
}

fn internal(what: &str, error: &io::Error) -> Fault {
    Fault::new(Whose::Gateway, FaultKind::Internal, format!("{what}: {error}"))
}

/// Binds a listener, with an error that says what to do.
pub(crate) fn bind(name: &str, address: &str) -> Result<TcpListener, Fault> {
    let wrong = |error: &io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
            _ => "listeners take an address of this machine and a port, such as 127.0.0.1:6432",
        };
        internal(&format!("listeners.{name}: cannot listen on {address}"), error).hint(hint)
    };
    let address: SocketAddr = address
        .parse()
        .map_err(|_| wrong(&io::Error::new(io::ErrorKind::InvalidInput, "not an address with a port")))?;
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|error| wrong(&error))
}

/// A loop for one thread.
fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(4)
        .build()
        .map_err(|error| internal("a thread's loop cannot be made", &error))
}

/// Starts a thread that serves the connections sent to it, until the stage is `Stopping`.
pub(crate) fn worker(
    number: usize,
    core: Arc<Core>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(mpsc::UnboundedSender<Arrival>, JoinHandle<()>), Fault> {
    // Unbounded, but never longer than there are places.
    let (sender, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
    let runtime = runtime()?;
    let serve = move || {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async move {
            loop {
                tokio::select! {
                    arrival = arrivals.recv() => match arrival {
                        Some(arrival) => take_in(arrival),
                        None => break,
                    },
                    _ = stage.wait_for(|stage| *stage == Stage::Stopping) => break,
                }
            }
        });
        // Whatever is still open ends here: each session records that when it is dropped.
        drop(tasks);
        drop(core);
        runtime.shutdown_timeout(Duration::from_secs(1));
    };
    let thread = std::thread::Builder::new().name(format!("penstock-{number}")).spawn(serve);
    Ok((sender, thread.map_err(|error| internal("a thread cannot be started", &error))?))
}

fn take_in(arrival: Arrival) {
    let Arrival { entry, socket, peer, place } = arrival;
    match TcpStream::from_std(socket) {
        Ok(socket) => {
            tokio::task::spawn_local(serve::serve(entry, socket, peer, place));
        }
        Err(error) => tracing::warn!(%peer, %error, "a connection could not be taken in"),
    }
}

/// Starts the thread that accepts connections and hands them round.
pub(crate) fn acceptor(
    core: Arc<Core>,
    listeners: Vec<(&'static Entry, TcpListener)>,
    workers: Vec<mpsc::UnboundedSender<Arrival>>,
    stage: watch::Receiver<Stage>,
) -> Result<JoinHandle<()>, Fault> {
    let runtime = runtime()?;
    let accept = move || {
        let tasks = tokio::task::LocalSet::new();
        let workers = Arc::new(workers);
        tasks.block_on(&runtime, async {
            let mut all = Vec::new();
            for (entry, listener) in listeners {
                let accepting = accept(core.clone(), entry, listener, workers.clone(), stage.clone());
                all.push(tokio::task::spawn_local(accepting));
            }
            for one in all {
                let _ = one.await;
            }
        });
    };
    let thread = std::thread::Builder::new().name("penstock-accept".to_owned()).spawn(accept);
    thread.map_err(|error| internal("a thread cannot be started", &error))
}

/// Accepts on one listener until the gateway drains; then the port is free.
async fn accept(
    core: Arc<Core>,
    entry: &'static Entry,
    listener: TcpListener,
    workers: Arc<Vec<mpsc::UnboundedSender<Arrival>>>,
    mut stage: watch::Receiver<Stage>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let mut turn = 0_usize;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let (Some(place), Ok(socket)) = (Place::take(&core), socket.into_std()) else { continue };
                turn = turn.wrapping_add(1);
                // The channel ends with its thread, and the place is given back with the arrival.
                let _ = workers[turn % workers.len()].send(Arrival { entry, socket, peer, place });
            }
            Err(error) => {
                // Out of descriptors or memory: others must end before more can begin.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
