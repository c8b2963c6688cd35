//! Every bound between two stages, in one place. Together they bound the memory of a run: documents in flight times
//! their size, and rows in batches.

use std::time::Duration;

/// Polls handed out and not yet committed. The fetch concurrency is below it (`[fetch] concurrency`), so that there is
/// always a next job; larger holds more bodies in memory, smaller leaves connections idle.
pub const IN_FLIGHT: usize = 128;

/// Parsed documents waiting for the store: what one commit takes next, while it is busy with the last. More lets hostile
/// documents hold more memory.
pub const DOCUMENTS: usize = 64;

/// Documents that share one transaction. More saves syncs and page writes under load (keys are hashes, so that each commit
/// touches pages all over the index); an idle daemon commits one by one.
pub const COMMIT_GROUP: usize = 64;

/// Calls queued for the store's thread. Each caller waits for its answer, so this only has to cover the stages.
pub const STORE_CALLS: usize = 16;

/// Items that may wait for a verdict before intake pauses: a slow classifier slows the fetchers. They wait in the
/// database, not in memory; larger only lengthens the backlog after a restart.
pub const PENDING_HIGH_WATER: usize = 5_000;

/// Items judged together: several model batches, so that texts of like length can share one, of the one in twenty too that
/// the quick model leaves to the transformer. Larger delays the first alert after a burst (by one or two seconds of work for
/// the transformer alone on two cores).
pub const JUDGE_BATCH: usize = 512;

/// Items read to be judged, and most that share one commit of verdicts. A quick scorer would otherwise spend its time
/// waiting for the disk; larger only holds more texts in memory.
pub const JUDGE_GROUP: usize = 4 * JUDGE_BATCH;

/// After this long a commit of verdicts takes no further batch, so that a slow scorer's alerts do not wait for their
/// neighbours.
pub const JUDGE_TIME: Duration = Duration::from_millis(250);

/// Alerts appended and synced together. Larger only saves syncs.
pub const DELIVERY_BATCH: usize = 256;

/// Alerts that a sink may have taken and that are not marked yet, at most: what is compared with the end of the alert file
/// after a crash. Half of it is marked at once, however long the interval of syncs. More makes start-up after a crash
/// slower.
pub const UNMARKED: usize = 16 * DELIVERY_BATCH;

/// Ids of alerts in the file that are remembered while a state is young (16 bytes each): those of a year of 2,700 alerts a day.
/// More only takes memory for alerts that no feed lists any more.
pub const HELD_IDS: usize = 1_000_000;

/// A wake-up is a fact, not a count: one that is waiting stands for all.
pub const WAKE: usize = 1;

/// Bytes of text in the items of history that share one transaction (`[backfill] group` says how many items may): long texts
/// must not make of a group of items what does not fit in memory.
pub const HISTORY_BYTES: usize = 64 * 1024 * 1024;

/// Items among them that the quick model has not settled: a group is judged to its end before the next is taken in, so that more
/// only makes the progress jump (these take the transformer about twenty seconds on two cores).
pub const HISTORY_OPEN: usize = 2_048;

/// Batches that share one transaction however few their items: a directory of small files is not held up to its end.
pub const HISTORY_BATCHES: usize = 8 * 1024;

/// KiB of history that is read and not parsed yet: one document of the longest kind (`[backfill] max_document`), which takes
/// several times its length to parse. Less than that is taken for all of it.
pub const HISTORY_ROOM_KIB: usize = 64 * 1024;

/// Bundles of batches read ahead while a group is committed and judged by the transformer: half a group of full batches. More
/// takes processors from the transformer, which is what such a run waits for.
pub const HISTORY_AHEAD: usize = 16;

/// The same where the quick model judges alone: a group and a half of full batches, so that no worker waits while the store
/// commits and the group is judged. More only takes memory.
pub const HISTORY_AHEAD_QUICK: usize = 48;

/// Bundles of pieces of sources that wait to be parsed, besides those that are: enough that no worker waits for the disk.
pub const HISTORY_PIECES: usize = 4;
