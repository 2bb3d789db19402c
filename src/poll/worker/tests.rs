use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::config;
use crate::lock::lock;
use crate::store::Store;

type Run = Box<dyn for<'s> Fn(&'s mut Seat, TaskChanges) -> BoxFuture<'s, ()> + Send + Sync>;

fn upstream(interval: &str) -> Arc<Upstream> {
    crate::tls::install();
    let text = format!(
        "global: {{ poll_interval: {interval} }}\n\
         providers: [{{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n"
    );
    let loaded = config::load_text("x.yml", &text, Path::new("")).unwrap();
    let provider = Arc::clone(&loaded.config.providers[0]);
    Arc::new(Upstream::new(provider, None, &Resolver::system()).unwrap())
}

fn task(id: &str) -> Task {
    upstream("1h").task(id, &[]).unwrap()
}

fn context() -> Context {
    Context {
        runtime: Handle::current(),
        resolver: Resolver::system(),
        clock: Clock::starting_at(Timestamp::from_micros(0)),
        storage: None,
        telemetry: Arc::new(Telemetry::new()),
        history: Arc::new(FailureHistory::new(9)),
    }
}

/// A supervised worker in whose place `run` runs.
fn supervised(context: Context, store: &Store, ids: &[&str], run: Run) -> Worker {
    let upstream = upstream("1h");
    let changes = apply(store, &upstream, ids);
    let (commands, inbox) = mpsc::channel(MAX_PROBES);
    let settled = Arc::new(AtomicBool::new(false));
    let (runtime, shard) = (context.runtime.clone(), Arc::clone(&changes.tasks));
    let telemetry = context.telemetry.provider("p");
    let worker =
        Worker { commands, settled: Arc::clone(&settled), telemetry: Arc::clone(&telemetry) };
    let seat = Seat { context, telemetry, upstream, shard, inbox, settled };
    runtime.spawn(async move { supervise(seat, changes, run).await });
    worker
}

fn apply(store: &Store, upstream: &Upstream, ids: &[&str]) -> TaskChanges {
    let tasks = ids.iter().map(|id| task(id)).collect();
    store.apply_config(&[Arc::clone(&upstream.provider)], tasks).remove(0)
}

/// A worker that panics while it has probes, an update and requests to answer for: each of them gets
/// an answer, and another worker takes over with all tasks and the last configuration.
#[tokio::test(start_paused = true)]
async fn another_worker_takes_over_where_one_panics() {
    let (context, start) = (context(), Instant::now());
    let store = Store::new(context.clock);
    let telemetry = context.telemetry.provider("p");
    let begun = Arc::new(Mutex::new(Vec::new()));
    let run = {
        let begun = Arc::clone(&begun);
        move |seat: &mut Seat, changes: TaskChanges| {
            let interval = seat.upstream.provider.limits.poll_interval;
            lock(&begun).push((start.elapsed(), interval, changes.added.len()));
        }
    };
    let telemetry_of_run = Arc::clone(&telemetry);
    let run: Run = Box::new(move |seat, changes| {
        run(seat, changes);
        let telemetry = Arc::clone(&telemetry_of_run);
        async move {
            let _under_way = telemetry.request_started();
            match seat.inbox.recv().await {
                Some(Command::Update(update, _done)) => drop(seat.take_over(*update)),
                Some(Command::End(done)) => return done.send(()).unwrap(),
                _ => {}
            }
            panic!("on purpose");
        }
        .boxed()
    });
    let worker = supervised(context, &store, &["a", "b"], run);
    assert!(!worker.is_settled());
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), NoTurn::Restarting);
    // Until there is a worker, nothing waits for one.
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), NoTurn::Restarting);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(worker.is_settled(), "other providers make the exporter ready");
    let slower = upstream("2h");
    worker.update(Arc::clone(&slower), apply(&store, &slower, &["a", "b", "c"])).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    // And with an update that was lost on the way.
    let slowest = upstream("3h");
    worker.update(Arc::clone(&slowest), apply(&store, &slowest, &["b", "d"])).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let expected = [
        (Duration::ZERO, hours(1), 2),
        (Duration::from_secs(1), hours(2), 3),
        (Duration::from_secs(7), hours(3), 2),
    ];
    assert_eq!(*lock(&begun), expected);
    worker.end().await;
    drop(telemetry.request_started());
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_while_it_rests() {
    let context = context();
    let store = Store::new(context.clock);
    let run: Run = Box::new(|_, _| async { panic!("on purpose") }.boxed());
    let worker = supervised(context, &store, &["a"], run);
    let start = Instant::now();
    worker.end().await;
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), NoTurn::Ended);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The real worker, after one that panicked, polls what it finds in the store.
#[tokio::test(start_paused = true)]
async fn the_successor_polls() {
    let context = context();
    let store = Store::new(context.clock);
    let is_first = AtomicBool::new(true);
    let run: Run = Box::new(move |seat, changes| {
        if is_first.swap(false, Ordering::Relaxed) {
            return async { panic!("on purpose") }.boxed();
        }
        assert_eq!(changes.added.len(), 2);
        poll(seat, changes)
    });
    let worker = supervised(context, &store, &["a", "b"], run);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Nothing listens there, which is an answer of its own.
    let polled = worker.probe(task("a"), None).await.unwrap();
    assert!(polled.outcomes[0].is_err());
    worker.end().await;
}
