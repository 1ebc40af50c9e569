//! The database server dies, and those who use it go on.

use leafgate_testkit::postgres::PostgresSettings;

use super::*;

const CRASHES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let server = PostgresServer::start(&PostgresSettings {
        durable: true,
        ..PostgresSettings::default()
    });
    let database = server.create_database();
    let (stop, followed) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let writer = open(&database.url()).await;
    let follower = open_read_only(&database.url()).await;
    let follower = tokio::spawn(follow(follower, Arc::clone(&followed)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(register_until(Arc::clone(&writer), task, Arc::clone(&stop)));
    }

    let share = u64::try_from(registrations().div_ceil(CRASHES + 1)).unwrap();
    for crash in 1.. {
        reach(&*writer, share * crash).await;
        if crash > CRASHES as u64 {
            break;
        }
        server.kill9();
        server.start_again();
    }
    stop.store(true, Ordering::Release);
    let acknowledged: HashSet<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() >= registrations() / 2);
    check(&*writer, &acknowledged).await;
    followed.store(true, Ordering::Release);
    let head = writer.position().await.unwrap().head();
    assert_eq!(follower.await.unwrap(), head);
}

/// Waits until this many events were written.
async fn reach(store: &dyn DeviceStore, seq: u64) {
    loop {
        match store.position().await {
            Ok(position) if position.seq >= seq => return,
            Ok(_) | Err(StoreError::Unavailable { .. }) => store.wake().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Registers devices whatever happens to the server, and gives what it was told.
async fn register_until(
    store: Arc<dyn DeviceStore>,
    task: usize,
    stop: Arc<AtomicBool>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let id = format!("t{task}-{number}");
        let change = Change::register(None, new_device(&id), &act(1)).unwrap();
        match store.commit(&[change]).await {
            Ok(position) => acknowledged.push(Acknowledged {
                id,
                seq: position.seq,
            }),
            Err(CommitError::Store(StoreError::Unavailable { .. })) => store.wake().await,
            Err(error) => panic!("{error:?}"),
        }
    }
    acknowledged
}
