//! Whoever comes in between: strangers who edit, approvers who intervene.

use countersign::domain::approval::Status;
use countersign::domain::intervention::Act;
use countersign::domain::observation::TrafficShare;
use countersign::domain::person::Profile;

use super::Simulation;
use crate::sample_approval::person;

impl Simulation {
    /// Somebody edits the service beside the gate.
    pub fn stranger(&mut self) {
        self.change_etag();
        self.service.generation += 1;
        self.service.last_modifier = "mallory@example.com".into();
        if self.chance.once_in(2) {
            self.stolen = true;
            let shares = vec![TrafficShare { revision: "evil".into(), percent: 100 }];
            (self.service.wanted, self.service.serving) = (shares.clone(), shares);
        }
        self.tell("a stranger edits");
    }

    /// An approver does one of the things that they may.
    pub fn person(&mut self) {
        let acts = self.approval.possible_acts(self.now);
        if acts.is_empty() {
            return;
        }
        let act = acts[self.chance.below(acts.len() as u64) as usize];
        let by = Profile {
            person: person("carol"),
            name: "Carol".into(),
            email: None,
            groups: vec!["security".to_owned()],
            github_id: None,
            gate_groups: false,
            directory_unreachable_since: None,
        };
        let approval = self.approval.clone();
        let transition = approval.intervene(act, &by, None, self.now).unwrap();
        self.tell(format!("Carol signs {act:?}"));
        self.apply(transition);
        if act == Act::Accept {
            // Who leaves it as it is leaves it to what may still arrive.
            self.late.clear();
            assert_eq!(self.approval.status(), Status::Failed);
        }
    }
}
