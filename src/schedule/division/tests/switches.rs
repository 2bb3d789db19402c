//! Batches that are too large, or that a provider does not have.

use super::*;

#[test]
fn responses_that_are_too_large_together_shrink_the_batches_for_a_while() {
    // Of one task a batch is no smaller than the task alone.
    for fits in [1, 2, 3, 12, 30] {
        let fits_only = |asked: &[u32], _: bool| match asked.len() > fits {
            true => SimulatedResponse::Garbage(Reason::TooLarge),
            false => SimulatedResponse::Read,
        };
        let mut provider = SimulatedProvider::new(100, &limits());
        provider.run(20 * SECOND, fits_only);
        assert!(provider.failed().is_empty(), "{fits} fit");
        assert_eq!(provider.polls.len(), 100);
        provider.take_requests();
        provider.run(4 * MINUTE, fits_only);
        let most = provider.requests.iter().map(|(size, _)| *size).max();
        assert!(most <= Some(fits), "{fits} fit, not {most:?}");
        let spent = provider.take_requests();
        assert!(spent <= 24 * (2 * 100_usize.div_ceil(fits) + 1), "{spent} requests, {fits} fit");
        let shrunk = provider.changes.iter();
        let shrunk =
            shrunk.filter(|change| matches!(change, BatchChange::Shrunk { is_new, .. } if *is_new));
        assert_eq!(shrunk.count(), 1, "{:?}", provider.changes);
        // Tried again, and not at every round.
        provider.run(20 * MINUTE, fits_only);
        let tries = provider.requests.iter().filter(|(size, _)| *size > fits).count();
        assert!((1..=4).contains(&tries), "{tries} tries");
        assert!(provider.failed().is_empty());
        provider.run(21 * MINUTE, |_, _| SimulatedResponse::Read);
        provider.take_requests();
        provider.run(MINUTE, |_, _| SimulatedResponse::Read);
        assert!(provider.requests.iter().all(|request| *request == (50, true)), "{fits} fit");
        assert!(provider.changes.contains(&BatchChange::Restored));
    }
}

/// The elements before the truncation count; those after it are requested in smaller batches.
#[test]
fn a_batch_that_was_cut_is_asked_for_in_parts() {
    let cut = |asked: &[u32], _: bool| match asked.split_at_checked(3) {
        Some((_, [])) | None => SimulatedResponse::Read,
        Some((_, out)) => SimulatedResponse::AllBut(out.to_vec()),
    };
    let mut provider = SimulatedProvider::new(50, &limits());
    provider.run(9 * SECOND, cut);
    assert!(provider.failed().is_empty());
    assert!(provider.polls.values().all(|polls| *polls == (1, 0)), "each once in a round");
    provider.take_requests();
    provider.run(4 * MINUTE, cut);
    let spent = provider.take_requests();
    assert!(spent <= 24 * 26 + 50, "{spent} requests");
    assert!(provider.failed().is_empty());
}

/// A page of HTML for the batch query, with status 200, is as good as a 404.
#[test]
fn batches_that_are_never_read_are_given_up_for_a_while() {
    let singles = |_: &[u32], is_batch: bool| match is_batch {
        true => SimulatedResponse::Garbage(Reason::Mapping),
        false => SimulatedResponse::Read,
    };
    let mut provider = SimulatedProvider::new(200, &limits());
    provider.run(9 * SECOND, singles);
    assert!(provider.failed().is_empty());
    let spent = provider.take_requests();
    assert!(spent <= 200 * 3, "{spent} requests");
    provider.run(4 * MINUTE, singles);
    assert!(provider.requests.iter().all(|request| *request == (1, false)));
    let [BatchChange::Shrunk { size: 0, is_new: true, .. }] = provider.changes[..] else {
        panic!("{:?}", provider.changes)
    };
}

/// The same where tasks are too few to be due together.
#[test]
fn a_batch_of_one_that_is_not_read_is_asked_for_as_one_task() {
    let singles = |_: &[u32], is_batch: bool| match is_batch {
        true => SimulatedResponse::Garbage(Reason::Mapping),
        false => SimulatedResponse::Read,
    };
    let limits = Limits { batch_wait: Duration::ZERO, ..limits() };
    let mut provider = SimulatedProvider::new(3, &limits);
    provider.run(60 * MINUTE, singles);
    assert!(provider.failed().is_empty());
    let spent = provider.take_requests();
    assert!(spent <= 3 * 360 + 40, "{spent} requests in 360 rounds of three");
    // Where the task itself is what cannot be read, it fails, and costs as little.
    let mut provider = SimulatedProvider::new(3, &limits);
    provider.run(60 * MINUTE, garbage_with(&[1]));
    assert_eq!(provider.failed(), [1]);
    assert!(provider.requests.len() <= 3 * 360, "{} requests", provider.requests.len());
    // Nor is the provider abandoned because of them, although nothing is read meanwhile.
    let mut provider = SimulatedProvider::new(20, &limits);
    provider.run(60 * MINUTE, garbage_with(&[1, 5, 6, 7, 13]));
    assert_eq!(provider.failed(), [1, 5, 6, 7, 13]);
    assert!(!provider.changes.contains(&BatchChange::GaveUp), "{:?}", provider.changes);
    assert!(matches!(&provider.changes[0], BatchChange::Isolated(_)));
}

#[test]
fn a_provider_without_batches_is_asked_for_them_again_after_a_while() {
    let refuses = |_: &[u32], is_batch: bool| match is_batch {
        true => SimulatedResponse::NoSuchQuery,
        false => SimulatedResponse::Read,
    };
    let mut provider = SimulatedProvider::new(100, &limits());
    provider.run(9 * SECOND, refuses);
    let batches =
        |provider: &SimulatedProvider| provider.requests.iter().filter(|(_, batch)| *batch).count();
    assert_eq!((provider.failed().len(), provider.polls.len(), batches(&provider)), (0, 100, 1));
    assert_eq!(provider.changes, [BatchChange::Refused { is_new: true }]);
    provider.take_requests();
    provider.run(4 * MINUTE + 50 * SECOND, refuses);
    assert_eq!(batches(&provider), 0, "not at every round");
    provider.run(16 * MINUTE, refuses);
    let tries = batches(&provider);
    assert!((1..=4).contains(&tries), "{tries} tries in a quarter of an hour");
    assert!(provider.failed().is_empty());
    assert!(
        provider.changes[1..]
            .iter()
            .all(|change| *change == BatchChange::Refused { is_new: false })
    );
    // The gateway was deployed.
    provider.run(20 * MINUTE, |_, _| SimulatedResponse::Read);
    assert_eq!(provider.changes.last(), Some(&BatchChange::Restored));
    provider.take_requests();
    provider.run(MINUTE, |_, _| SimulatedResponse::Read);
    assert!(provider.requests.iter().all(|(_, batch)| *batch));
}
