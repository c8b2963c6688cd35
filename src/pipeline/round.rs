//! What one round of delivery to a sink comes to. Pure.

use crate::store::{Settled, Waiting};

/// What is to become of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not meant for this sink.
    Skip,
    /// The sink has it already.
    Has,
    /// It is handed over.
    Send,
}

/// How far a sink has got.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// What can be marked.
    pub settled: Settled,
    /// How many alerts, from the first on, that is.
    pub alerts: usize,
    /// How many of them the sink took just now.
    pub fresh: usize,
    /// Ids of alerts that it took behind one that it did not: they wait to be marked in order.
    pub has: Vec<String>,
}

impl Round {
    /// Goes through the alerts in order, up to the first that is neither skipped nor with the sink nor parked.
    pub fn of<'a>(
        alerts: impl Iterator<Item = (&'a Waiting, Fate)>,
        taken: &[i64],
        parked: Option<&(i64, String)>,
    ) -> Self {
        let mut round = Self::default();
        let mut stuck = false;
        for (alert, fate) in alerts {
            let took = fate == Fate::Send && taken.contains(&alert.seq);
            let refused = parked.filter(|(seq, _)| *seq == alert.seq);
            stuck |= fate == Fate::Send && !took && refused.is_none();
            round.fresh += usize::from(took);
            if stuck {
                if took {
                    round.has.push(alert.alert_id.clone());
                }
                continue;
            }
            round.alerts += 1;
            round.settled.cursor = alert.seq;
            round.settled.taken += u64::from(took || fate == Fate::Has);
            round.settled.parked.extend(refused.cloned());
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alert(seq: i64) -> Waiting {
        Waiting { seq, alert_id: format!("id-{seq}"), line: String::new(), tags: "[]".into() }
    }

    fn round(fates: &[Fate], taken: &[i64], parked: Option<(i64, String)>) -> Round {
        let alerts: Vec<Waiting> = (1..=fates.len() as i64).map(alert).collect();
        Round::of(alerts.iter().zip(fates.iter().copied()), taken, parked.as_ref())
    }

    #[test]
    fn the_cursor_stops_at_the_first_that_was_not_taken() {
        use Fate::{Has, Send, Skip};
        let round = round(&[Skip, Has, Send, Send, Send], &[3, 5], None);
        assert_eq!(round.settled, Settled { cursor: 3, taken: 2, parked: vec![] });
        assert_eq!((round.alerts, round.fresh, round.has), (3, 2, vec!["id-5".to_owned()]));
    }

    #[test]
    fn a_parked_alert_is_settled_and_named() {
        let parked = (2, "status 413".to_owned());
        let round = round(&[Fate::Send, Fate::Send], &[1], Some(parked.clone()));
        assert_eq!(round.settled, Settled { cursor: 2, taken: 1, parked: vec![parked] });
    }

    #[test]
    fn nothing_taken_is_nothing_settled() {
        let round = round(&[Fate::Send], &[], None);
        assert_eq!((round.alerts, round.settled), (0, Settled::default()));
    }

    proptest! {
        /// Nothing is marked that was neither taken, nor meant for another, nor parked; nothing that was taken is forgotten.
        #[test]
        fn nothing_is_lost(picks in proptest::collection::vec((0u8..3, any::<bool>()), 0..40)) {
            let fates: Vec<Fate> = picks.iter().map(|(pick, _)| [Fate::Skip, Fate::Has, Fate::Send][*pick as usize]).collect();
            let taken: Vec<i64> = picks
                .iter()
                .enumerate()
                .filter(|(_, (pick, took))| *pick == 2 && *took)
                .map(|(index, _)| index as i64 + 1)
                .collect();
            let round = round(&fates, &taken, None);
            for (index, fate) in fates.iter().enumerate() {
                let seq = index as i64 + 1;
                let marked = seq <= round.settled.cursor;
                prop_assert!(!marked || *fate != Fate::Send || taken.contains(&seq));
                let remembered = round.has.contains(&format!("id-{seq}"));
                prop_assert!(!taken.contains(&seq) || marked || remembered);
            }
            prop_assert_eq!(round.fresh, taken.len());
        }
    }
}
