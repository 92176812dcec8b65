//! No order of events meets a quorum that the rules do not: whatever people, requesters and clocks do to an approval,
//! it is approved exactly when enough different people who may sign stand behind it.

use std::collections::BTreeSet;

use countersign::domain::approval::{Approval, Status};
use countersign::domain::decision::{Decision, Verdict, standing};
use countersign::domain::person::Person;
use countersign::domain::policy::{ActsFor, Policy, RequesterMatch, Rule};
use countersign::domain::separation::{SeparationRules, Shipped};
use countersign::domain::subject::FrozenSubject;
use countersign::domain::workflow_run::Account;
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use crate::sample_approval;

/// So many people there are, and so many groups.
const PEOPLE: u64 = 6;
const GROUPS: [&str; 3] = ["release-managers", "security", "engineering"];

/// One who may or may not count.
#[derive(Clone, Debug)]
struct Somebody {
    number: u64,
    groups: Vec<usize>,
    /// Whether the directory says which account is theirs: 100 and their number.
    has_account: bool,
}

impl Somebody {
    fn subject(&self) -> String {
        format!("u-{}", self.number)
    }

    fn person(&self) -> Person {
        sample_approval::person(&self.subject())
    }

    fn groups(&self) -> Vec<String> {
        self.groups.iter().map(|group| GROUPS[*group].to_owned()).collect()
    }

    fn account(&self) -> Option<u64> {
        self.has_account.then_some(100 + self.number)
    }
}

/// What happens to an approval.
#[derive(Clone, Debug)]
enum Event {
    Says(usize, Verdict),
    Cancel,
    Expire,
    Begin,
    Wait(i64),
}

#[derive(Clone, Debug)]
struct World {
    people: Vec<Somebody>,
    /// Who may sign, by groups and by people, and how many must.
    rules: Vec<(Vec<usize>, Vec<u64>, u8)>,
    separates: bool,
    /// Who had a hand in what ships, by their numbers.
    contributors: BTreeSet<u64>,
    /// For whom the requester acts.
    acts_for: Option<u64>,
    events: Vec<Event>,
}

fn somebody(number: u64) -> impl Strategy<Value = Somebody> {
    let groups = proptest::sample::subsequence(vec![0, 1, 2], 0..=3);
    (groups, prop::bool::weighted(0.8)).prop_map(move |(groups, has_account)| Somebody {
        number,
        groups,
        has_account,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![
        8 => Just(Verdict::Approve),
        3 => Just(Verdict::Withdraw),
        1 => Just(Verdict::Reject),
    ];
    prop_oneof![
        16 => (0..PEOPLE as usize, verdict).prop_map(|(who, verdict)| Event::Says(who, verdict)),
        1 => Just(Event::Cancel),
        1 => Just(Event::Expire),
        1 => Just(Event::Begin),
        1 => (1..200_i64).prop_map(Event::Wait),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let people: Vec<_> = (0..PEOPLE).map(somebody).collect();
    let groups = proptest::sample::subsequence(vec![0, 1, 2], 0..=2);
    let named = proptest::sample::subsequence((0..PEOPLE).collect::<Vec<_>>(), 0..=2);
    let rule = (groups, named, 1..=3_u8)
        .prop_filter("a rule lists somebody", |(groups, named, _)| {
            !(groups.is_empty() && named.is_empty())
        });
    let rules = prop::collection::vec(rule, 0..=3);
    let contributors = prop::collection::btree_set(0..PEOPLE, 0..=2);
    let events = prop::collection::vec(event(), 0..24);
    let acts_for = prop::option::weighted(0.3, 0..PEOPLE);
    (people, rules, any::<bool>(), contributors, acts_for, events).prop_map(
        |(people, rules, separates, contributors, acts_for, events)| World {
            people,
            rules,
            separates,
            contributors,
            acts_for,
            events,
        },
    )
}

impl World {
    fn approval(&self) -> Approval {
        let principal = |text: String| text.parse().unwrap();
        let rule = |(groups, named, count): &(Vec<usize>, Vec<u64>, u8)| Rule {
            from: groups
                .iter()
                .map(|group| principal(format!("group:{}", GROUPS[*group])))
                .chain(named.iter().map(|number| principal(format!("person:u-{number}"))))
                .collect(),
            count: *count,
            environment: None,
        };
        let mut deployment = sample_approval::deployment();
        let claims = &mut deployment.requester.claims;
        claims.insert("actor_id".into(), json!("7"));
        if let Some(number) = self.acts_for {
            claims.insert("for".into(), json!(format!("u-{number}")));
        }
        let commit = claims["sha"].as_str().unwrap().to_owned();
        let accounts = [7].into_iter().chain(self.contributors.iter().map(|number| 100 + number));
        deployment.shipped = Some(Shipped {
            repository: 712_345,
            since: vec![],
            commit,
            commits: 1,
            accounts: accounts.map(|id| Account { id, login: String::new() }).collect(),
        });
        let directory = sample_approval::person("u-0").issuer;
        let acts_for = self.acts_for.map(|_| ActsFor { directory, claim: "for".into() });
        let separation =
            SeparationRules { github_id_claim: Some("id".into()), ..Default::default() };
        let policy = Policy {
            rules: self.rules.iter().map(rule).collect(),
            requesters: vec![RequesterMatch {
                issuer: "github".into(),
                claims: Default::default(),
                acts_for,
            }],
            separation: self.separates.then_some(separation),
            ..sample_approval::policy()
        };
        Approval::request(FrozenSubject::freeze(deployment).unwrap(), policy).approval
    }

    /// Whether this one's yes counts for anything at all, said again and otherwise than the gate says it.
    fn counts(&self, who: &Somebody) -> bool {
        let asked = self.acts_for == Some(who.number);
        let shipped = self.contributors.contains(&who.number);
        !asked && (!self.separates || who.has_account && !shipped)
    }

    /// Whether places of rules can be given to different people: every way is tried.
    fn is_met(&self, yes: &[&Somebody]) -> bool {
        let places: Vec<&(Vec<usize>, Vec<u64>, u8)> = self
            .rules
            .iter()
            .flat_map(|rule| std::iter::repeat_n(rule, usize::from(rule.2)))
            .collect();
        !places.is_empty() && seat(&places, yes)
    }
}

fn seat(places: &[&(Vec<usize>, Vec<u64>, u8)], people: &[&Somebody]) -> bool {
    let Some(((groups, named, _), rest)) = places.split_first() else { return true };
    people.iter().enumerate().any(|(place, who)| {
        let may = named.contains(&who.number) || who.groups.iter().any(|one| groups.contains(one));
        let mut others = people.to_vec();
        others.remove(place);
        may && seat(rest, &others)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_meets_what_the_rules_do_not(world in world()) {
        let mut approval = world.approval();
        let mut now = approval.subject.requested_at;
        for event in &world.events {
            now += SignedDuration::from_secs(1);
            let before = approval.clone();
            let transition = match event {
                Event::Says(who, verdict) => {
                    let who = &world.people[*who];
                    approval.decide(
                        Decision {
                            person: who.person(),
                            groups: who.groups(),
                            github_id: who.account(),
                            decided_at: now,
                            ..sample_approval::decision(&who.subject(), "none", *verdict, None)
                        },
                        now,
                    )
                }
                Event::Cancel => approval.cancel(now),
                Event::Expire => approval.expire(now),
                Event::Begin => approval.begin(now),
                Event::Wait(minutes) => {
                    now += SignedDuration::from_mins(*minutes);
                    continue;
                }
            };
            approval = transition.map_or(before, |transition| transition.approval);
            let said = standing(&approval.decisions);
            let of = |decision: &&Decision| {
                world.people.iter().find(|who| who.person() == decision.person).unwrap()
            };
            for decision in &said {
                prop_assert!(world.counts(of(decision)), "somebody decided who may not: {decision:?}");
            }
            let yes: Vec<&Somebody> = said
                .iter()
                .filter(|decision| decision.verdict == Verdict::Approve)
                .map(of)
                .collect();
            let different: BTreeSet<u64> = yes.iter().map(|who| who.number).collect();
            prop_assert_eq!(different.len(), yes.len(), "somebody counts twice");
            match approval.status() {
                Status::Approved | Status::Executing => {
                    prop_assert!(world.is_met(&yes), "approved without a quorum: {:?}", yes);
                }
                Status::Pending => {
                    prop_assert!(!world.is_met(&yes), "not approved with a quorum: {:?}", yes);
                }
                _ => {}
            }
        }
    }
}
