//! Requests and answers between two guests, in a closed or an open loop: what `bench` measures latency with.
//!
//! `exchange serve PORT`: answers HTTP/1.1 requests for `/N` with N bytes, on TCP, and echoes datagrams, on UDP;
//! prints `ready` and runs until its input ends.
//!
//! `exchange tcp|udp PORT ADDRESS… [--connections N] [--seconds S] [--rate R] [--body BYTES] [--answer BYTES]
//! [--reconnect]`: prints one JSON object. Without `--rate` each connection sends its next request when it has the
//! answer (how many per second get through at most), with `--reconnect` on a new connection. With `--rate`, requests
//! are sent at fixed times, R a second in all, whether answers come or not, and each latency counts from the time the
//! request was due: an answer that keeps others waiting is charged with their waiting too (no coordinated omission).
//! `late_p99_us` is how far this program itself was behind.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{channel, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long answers are waited for once the last request is sent, and a datagram's answer in the closed loop.
const PATIENCE: Duration = Duration::from_millis(300);
const DATAGRAM_BYTES: usize = 64;
const MAX_ANSWER: usize = 64 << 20;

/// What one connection did.
#[derive(Default)]
struct Tally {
    latencies_ns: Vec<u64>,
    late_ns: Vec<u64>,
    sent: u64,
}

#[derive(Clone)]
struct Plan {
    udp: bool,
    request: Vec<u8>,
    answer_bytes: usize,
    start: Instant,
    end: Instant,
    /// Time between two requests of one connection; `None`: a closed loop.
    interval: Option<Duration>,
    /// A connection of its own for each request (closed loop).
    reconnect: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(port),
        [kind @ ("tcp" | "udp"), port, ref rest @ ..] => ask(kind == "udp", port, rest),
        _ => {
            eprintln!("usage: exchange serve PORT | exchange tcp|udp PORT ADDRESS… [--connections N] [--seconds S] [--rate R] [--body BYTES] [--answer BYTES]");
            std::process::exit(2)
        }
    }
}

// The server.

fn serve(port: &str) -> io::Result<()> {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    let echo = UdpSocket::bind(format!("0.0.0.0:{port}"))?;
    thread::spawn(move || {
        let mut datagram = [0; 65535];
        loop {
            if let Ok((length, from)) = echo.recv_from(&mut datagram) {
                let _ = echo.send_to(&datagram[..length], from);
            }
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is the client's to report.
            thread::spawn(move || answer(stream));
        }
    });
    println!("ready");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    let (mut line, mut answer) = (String::new(), Vec::new());
    loop {
        let (mut wanted, mut body) = (0, 0u64);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if let Some(path) = line.strip_prefix("POST /") {
                let number = path
                    .split(' ')
                    .next()
                    .and_then(|number| number.parse().ok());
                wanted = number.unwrap_or(0).min(MAX_ANSWER);
            } else if let Some(length) = line.strip_prefix("Content-Length: ") {
                body = length.parse().unwrap_or(0);
            } else if line.is_empty() {
                break;
            }
        }
        while body > 0 {
            let here = reader
                .fill_buf()?
                .len()
                .min(usize::try_from(body).unwrap_or(usize::MAX));
            if here == 0 {
                return Ok(());
            }
            reader.consume(here);
            body -= here as u64;
        }
        let head = answer_head(wanted);
        if answer.len() != head.len() + wanted {
            answer = head.into_bytes();
            answer.resize(answer.len() + wanted, b'a');
        }
        stream.write_all(&answer)?;
    }
}

fn answer_head(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nServer: exchange\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n")
}

// The client.

fn ask(udp: bool, port: &str, rest: &[&str]) -> io::Result<()> {
    let addresses: Vec<&str> = rest
        .iter()
        .copied()
        .take_while(|word| !word.starts_with("--"))
        .collect();
    let value = |name: &str| {
        let at = rest.iter().position(|word| *word == name)?;
        rest.get(at + 1)?.parse::<f64>().ok()
    };
    let connections = value("--connections").unwrap_or(8.0) as usize;
    let seconds = value("--seconds").unwrap_or(2.0);
    let answer = value("--answer").unwrap_or(128.0) as usize;
    let rate = value("--rate");
    let start = Instant::now() + Duration::from_millis(100);
    let plan = Plan {
        udp,
        request: if udp {
            vec![b'u'; DATAGRAM_BYTES]
        } else {
            request(value("--body").unwrap_or(64.0) as usize, answer)
        },
        answer_bytes: answer_head(answer).len() + answer,
        start,
        end: start + Duration::from_secs_f64(seconds),
        reconnect: rest.contains(&"--reconnect"),
        interval: rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate)),
    };
    let mut running = Vec::new();
    for number in 0..connections {
        let address = format!("{}:{port}", addresses[number % addresses.len()]);
        let mut plan = plan.clone();
        // Connections take turns, so that the whole is evenly spaced.
        plan.start += plan
            .interval
            .unwrap_or_default()
            .mul_f64(number as f64 / connections as f64);
        running.push(start_one(&address, plan)?);
    }
    let mut all = Tally::default();
    for one in running {
        let one = one.join().expect("a connection's thread does not panic")?;
        all.latencies_ns.extend(one.latencies_ns);
        all.late_ns.extend(one.late_ns);
        all.sent += one.sent;
    }
    report(all, seconds);
    Ok(())
}

fn request(body: usize, answer: usize) -> Vec<u8> {
    let head = format!("POST /{answer} HTTP/1.1\r\nHost: web\r\nUser-Agent: exchange\r\nContent-Type: application/octet-stream\r\nContent-Length: {body}\r\n\r\n");
    let mut request = head.into_bytes();
    // Bytes that compress and repeat badly, and that are the same in every run.
    request.extend((0..body as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8));
    request
}

fn report(mut all: Tally, seconds: f64) {
    all.latencies_ns.sort_unstable();
    all.late_ns.sort_unstable();
    let at = |sorted: &[u64], share: f64| {
        let index = (sorted.len() as f64 * share) as usize;
        sorted
            .get(index.min(sorted.len().saturating_sub(1)))
            .map_or(0.0, |ns| *ns as f64 / 1e3)
    };
    println!(
        "{{\"sent\": {}, \"answered\": {}, \"per_second\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"p999_us\": {:.1}, \"late_p99_us\": {:.1}}}",
        all.sent,
        all.latencies_ns.len(),
        all.latencies_ns.len() as f64 / seconds,
        at(&all.latencies_ns, 0.5),
        at(&all.latencies_ns, 0.99),
        at(&all.latencies_ns, 0.999),
        at(&all.late_ns, 0.99),
    );
}

fn start_one(address: &str, plan: Plan) -> io::Result<JoinHandle<io::Result<Tally>>> {
    if plan.udp {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        return Ok(match plan.interval {
            None => thread::spawn(move || udp_closed(&socket, &plan)),
            Some(interval) => thread::spawn(move || udp_open(&socket, &plan, interval)),
        });
    }
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(match plan.interval {
        None => thread::spawn(move || tcp_closed(stream, &plan)),
        Some(interval) => thread::spawn(move || tcp_open(stream, &plan, interval)),
    })
}

fn tcp_closed(mut stream: TcpStream, plan: &Plan) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut answer = vec![0; plan.answer_bytes];
    wait_until(plan.start);
    loop {
        let began = Instant::now();
        if began >= plan.end {
            return Ok(tally);
        }
        stream.write_all(&plan.request)?;
        tally.sent += 1;
        stream.read_exact(&mut answer)?;
        tally.latencies_ns.push(began.elapsed().as_nanos() as u64);
        if plan.reconnect {
            let peer = stream.peer_addr()?;
            stream = TcpStream::connect(peer)?;
            stream.set_nodelay(true)?;
        }
    }
}

fn udp_closed(socket: &UdpSocket, plan: &Plan) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let (mut request, mut answer) = (plan.request.clone(), [0; DATAGRAM_BYTES]);
    wait_until(plan.start);
    loop {
        let began = Instant::now();
        if began >= plan.end {
            return Ok(tally);
        }
        tally.sent += 1;
        request[..8].copy_from_slice(&tally.sent.to_be_bytes());
        socket.send(&request)?;
        // An answer to one that was given up already is not this one's.
        while socket.recv(&mut answer).is_ok() {
            if answer[..8] == request[..8] {
                tally.latencies_ns.push(began.elapsed().as_nanos() as u64);
                break;
            }
        }
    }
}

fn tcp_open(stream: TcpStream, plan: &Plan, interval: Duration) -> io::Result<Tally> {
    let mut writer = stream.try_clone()?;
    let (due, dues) = channel();
    let (bytes, reader) = (plan.answer_bytes, stream);
    reader.set_read_timeout(Some(PATIENCE))?;
    let receiver = thread::spawn(move || receive_in_order(reader, bytes, &dues));
    let mut tally = Tally::default();
    at_fixed_times(plan, interval, &mut tally, |when| {
        // The receiver has given up: what is left is not answered.
        let _ = due.send(when);
        writer.write_all(&plan.request)
    })?;
    drop(due);
    tally.latencies_ns = receiver.join().expect("the receiver does not panic");
    Ok(tally)
}

fn receive_in_order(mut reader: TcpStream, bytes: usize, dues: &Receiver<Instant>) -> Vec<u64> {
    let mut latencies = Vec::new();
    let mut answer = vec![0; bytes];
    while let Ok(due) = dues.recv() {
        let mut have = 0;
        while have < bytes {
            match reader.read(&mut answer[have..]) {
                Ok(0) | Err(_) => return latencies,
                Ok(read) => have += read,
            }
        }
        latencies.push(due.elapsed().as_nanos() as u64);
    }
    latencies
}

fn udp_open(socket: &UdpSocket, plan: &Plan, interval: Duration) -> io::Result<Tally> {
    let (epoch, reader) = (plan.start, socket.try_clone()?);
    let receiver = thread::spawn(move || {
        let mut latencies = Vec::new();
        let mut answer = [0; DATAGRAM_BYTES];
        while reader.recv(&mut answer).is_ok() {
            let due_ns = u64::from_be_bytes(answer[..8].try_into().expect("eight bytes"));
            latencies.push((epoch.elapsed().as_nanos() as u64).saturating_sub(due_ns));
        }
        latencies
    });
    let mut tally = Tally::default();
    let mut request = plan.request.clone();
    at_fixed_times(plan, interval, &mut tally, |due| {
        request[..8].copy_from_slice(&((due - epoch).as_nanos() as u64).to_be_bytes());
        socket.send(&request).map(|_| ())
    })?;
    tally.latencies_ns = receiver.join().expect("the receiver does not panic");
    Ok(tally)
}

/// Calls `send` with the time each request is due, as soon as that has come.
fn at_fixed_times(
    plan: &Plan,
    interval: Duration,
    tally: &mut Tally,
    mut send: impl FnMut(Instant) -> io::Result<()>,
) -> io::Result<()> {
    exact_sleeps();
    let mut due = plan.start;
    while due < plan.end {
        wait_until(due);
        tally.late_ns.push(due.elapsed().as_nanos() as u64);
        send(due)?;
        tally.sent += 1;
        due += interval;
    }
    Ok(())
}

fn wait_until(when: Instant) {
    let now = Instant::now();
    if when > now {
        thread::sleep(when - now);
    }
}

/// The kernel may put a thread's sleeps off by 50 µs to save wake-ups; not this thread's.
fn exact_sleeps() {
    // SAFETY: sets a number of the calling thread; no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}
