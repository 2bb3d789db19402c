use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::clock::Timestamp;
use crate::config;
use crate::store::Store;

type Run =
    Box<dyn for<'s> Fn(&'s mut WorkerContext, TaskChanges) -> BoxFuture<'s, ()> + Send + Sync>;

fn client(interval: &str) -> Arc<ProviderClient> {
    crate::tls::install();
    let text = format!(
        "global: {{ poll_interval: {interval} }}\n\
         providers: [{{ name: p, preset: mjdjourney, base_url: 'http://127.0.0.1:1' }}]\n"
    );
    let loaded = config::load_text("x.yml", &text, Path::new("")).unwrap();
    let provider = Arc::clone(&loaded.config.providers[0]);
    Arc::new(ProviderClient::new(provider, None, &Resolver::system()).unwrap())
}

fn task(id: &str) -> Task {
    client("1h").task(id, &[]).unwrap()
}

fn context() -> Services {
    Services {
        runtime: Handle::current(),
        resolver: Resolver::system(),
        clock: Clock::starting_at(Timestamp::from_micros(0)),
        storage: None,
        telemetry: Arc::new(Telemetry::new()),
        history: Arc::new(FailureHistory::new(9)),
    }
}

/// A supervised worker in whose place `run` runs.
fn supervised(services: Services, store: &Store, ids: &[&str], run: Run) -> Worker {
    let client = client("1h");
    let changes = apply(store, &client, ids);
    let runtime = services.runtime.clone();
    let (worker, context) = Worker::new(services, client, &changes);
    runtime.spawn(async move { supervise(context, changes, run).await });
    worker
}

fn apply(store: &Store, client: &ProviderClient, ids: &[&str]) -> TaskChanges {
    let tasks = ids.iter().map(|id| task(id)).collect();
    store.apply_config(&[Arc::clone(&client.provider)], tasks).remove(0)
}

/// A worker that panics while it has probes, an update and requests to reply to: each of them gets
/// a reply, and another worker takes over with all tasks and the last configuration.
#[tokio::test(start_paused = true)]
async fn another_worker_takes_over_where_one_panics() {
    let (context, start) = (context(), Instant::now());
    let store = Store::new(context.clock);
    let telemetry = context.telemetry.provider("p");
    let begun = Arc::new(Mutex::new(Vec::new()));
    let run = {
        let begun = Arc::clone(&begun);
        move |context: &mut WorkerContext, changes: TaskChanges| {
            let interval = context.client.provider.limits.poll_interval;
            begun.lock().push((start.elapsed(), interval, changes.added.len()));
        }
    };
    let telemetry_of_run = Arc::clone(&telemetry);
    let run: Run = Box::new(move |context, changes| {
        run(context, changes);
        let telemetry = Arc::clone(&telemetry_of_run);
        async move {
            let _under_way = telemetry.request_started();
            match context.inbox.recv().await {
                Some(WorkerCommand::Update(update, _done)) => drop(context.update(*update)),
                Some(WorkerCommand::Stop(done)) => return done.send(()).unwrap(),
                _ => {}
            }
            panic!("on purpose");
        }
        .boxed()
    });
    let worker = supervised(context, &store, &["a", "b"], run);
    assert!(!worker.is_settled());
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Restarting);
    // Until there is a worker, nothing waits for one.
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Restarting);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(worker.is_settled(), "other providers make the exporter ready");
    let slower = client("2h");
    worker.update(Arc::clone(&slower), apply(&store, &slower, &["a", "b", "c"])).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    // And with an update that was lost on the way.
    let slowest = client("3h");
    worker.update(Arc::clone(&slowest), apply(&store, &slowest, &["b", "d"])).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let expected = [
        (Duration::ZERO, hours(1), 2),
        (Duration::from_secs(1), hours(2), 3),
        (Duration::from_secs(7), hours(3), 2),
    ];
    assert_eq!(*begun.lock(), expected);
    worker.stop().await;
    drop(telemetry.request_started());
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_while_it_rests() {
    let context = context();
    let store = Store::new(context.clock);
    let run: Run = Box::new(|_, _| async { panic!("on purpose") }.boxed());
    let worker = supervised(context, &store, &["a"], run);
    let start = Instant::now();
    worker.stop().await;
    assert_eq!(worker.probe(task("a"), None).await.unwrap_err(), ProbeError::Stopped);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The real worker, after one that panicked, polls what it finds in the store.
#[tokio::test(start_paused = true)]
async fn the_successor_polls() {
    let context = context();
    let store = Store::new(context.clock);
    let is_first = AtomicBool::new(true);
    let run: Run = Box::new(move |context, changes| {
        if is_first.swap(false, Ordering::Relaxed) {
            return async { panic!("on purpose") }.boxed();
        }
        assert_eq!(changes.added.len(), 2);
        poll(context, changes)
    });
    let worker = supervised(context, &store, &["a", "b"], run);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Nothing listens there, which is an outcome of its own.
    let polled = worker.probe(task("a"), None).await.unwrap();
    assert!(polled.outcomes[0].is_err());
    worker.stop().await;
}
