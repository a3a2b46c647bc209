//! Arbitrary messages through this codec and through `kafka-protocol`, which shares nothing with it.

mod support;

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    ops::RangeInclusive,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages as other,
    protocol::{Decodable, Encodable, Message as OtherMessage},
};
use kcopy_wire::{Message, messages};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestCaseError, TestRunner},
};
use support::{
    decode, encode,
    sample::{Choices, sample},
    table, tables,
};

/// What `kafka-protocol` 0.18, of Kafka 4.1, does not know at all.
const UNKNOWN: [&str; 7] = [
    "ControlRecordTypeSchema",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "StreamsGroupTopologyDescriptionUpdateRequest",
    "StreamsGroupTopologyDescriptionUpdateResponse",
];

/// The versions that it does not know of what it knows.
const NEWER: [(&str, RangeInclusive<i16>); 20] = [
    ("ApiVersionsRequest", 5..=5),
    ("ApiVersionsResponse", 5..=5),
    ("DeleteGroupsRequest", 3..=3),
    ("DeleteGroupsResponse", 3..=3),
    ("DescribeLogDirsRequest", 5..=5),
    ("DescribeLogDirsResponse", 5..=5),
    ("DescribeShareGroupOffsetsRequest", 1..=1),
    ("DescribeShareGroupOffsetsResponse", 1..=1),
    ("ListOffsetsRequest", 11..=11),
    ("ListOffsetsResponse", 11..=11),
    ("OffsetCommitRequest", 10..=10),
    ("OffsetFetchRequest", 10..=10),
    ("ShareAcknowledgeRequest", 2..=2),
    ("ShareAcknowledgeResponse", 2..=2),
    ("ShareFetchRequest", 2..=2),
    ("ShareFetchResponse", 2..=2),
    ("TxnOffsetCommitRequest", 6..=6),
    ("TxnOffsetCommitResponse", 6..=6),
    ("WriteTxnMarkersRequest", 2..=2),
    ("WriteTxnMarkersResponse", 2..=2),
];

type Check = fn(&[u8], i16) -> Result<(), TestCaseError>;

/// A message that both know.
struct Pair {
    versions: RangeInclusive<i16>,
    check: Check,
}

impl Pair {
    fn of<O: Message, K: OtherMessage + Decodable + Encodable + PartialEq + Debug>() -> (&'static str, Pair) {
        (O::NAME, Pair { versions: K::VERSIONS.min..=K::VERSIONS.max, check: check::<O, K> })
    }
}

/// Both read the same bytes; what each writes, the other reads as the value that it read itself.
fn check<O, K>(bytes: &[u8], version: i16) -> Result<(), TestCaseError>
where
    O: Message,
    K: Decodable + Encodable + PartialEq + Debug,
{
    let fail = |what: &str, why: &dyn Debug| TestCaseError::fail(format!("{what}: {why:?}"));
    let ours: O = decode(Bytes::copy_from_slice(bytes), version)
        .map_err(|why| fail("we cannot read the sample", &why))?;
    let theirs: K = read_other(bytes, version).map_err(|why| fail("they cannot read the sample", &why))?;

    let (our_text, their_text) = (format!("{ours:?}"), format!("{theirs:?}"));
    let (our_fields, their_fields) = fields_of_both(&our_text, &their_text);
    if our_fields != their_fields {
        return Err(fail("the same bytes mean different things", &(our_text, their_text)));
    }

    let our_bytes = encode(&ours, version).map_err(|why| fail("we cannot write it", &why))?;
    let seen =
        read_other::<K>(&our_bytes, version).map_err(|why| fail("they cannot read our bytes", &why))?;
    if seen != theirs {
        return Err(fail("they read another value in our bytes", &(seen, theirs)));
    }

    let mut their_bytes = BytesMut::new();
    theirs.encode(&mut their_bytes, version).map_err(|why| fail("they cannot write it", &why))?;
    let seen: O =
        decode(their_bytes.freeze(), version).map_err(|why| fail("we cannot read their bytes", &why))?;
    if seen != ours {
        return Err(fail("we read another value in their bytes", &(seen, ours)));
    }
    if our_bytes != bytes {
        return Err(fail("our bytes are not the sample's", &ours));
    }
    Ok(())
}

fn read_other<K: Decodable>(bytes: &[u8], version: i16) -> Result<K, String> {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let value = K::decode(&mut bytes, version).map_err(|why| why.to_string())?;
    if bytes.is_empty() { Ok(value) } else { Err(format!("{} bytes are left", bytes.len())) }
}

/// The fields that both have, with their values, in the order of `Debug`.
///
/// Left out are uuids and records, which the two show differently, and unknown tags.
fn fields_of_both<'a>(ours: &'a str, theirs: &'a str) -> (Vec<Shown<'a>>, Vec<Shown<'a>>) {
    let (mut ours, mut theirs) = (shown(ours), shown(theirs));
    let is_uuid = |text: &str| text.len() == 36 && text.matches('-').count() == 4;
    let unlike: HashSet<_> =
        theirs.iter().filter(|(_, value)| is_uuid(value)).map(|(name, _)| name.clone()).collect();
    let our_names: HashSet<_> = ours.iter().map(|(name, _)| name.clone()).collect();
    let their_names: HashSet<_> = theirs.iter().map(|(name, _)| name.clone()).collect();
    let is_common = |(name, _): &Shown<'_>| {
        name != "records" && our_names.contains(name) && their_names.contains(name) && !unlike.contains(name)
    };
    ours.retain(is_common);
    theirs.retain(is_common);
    (ours, theirs)
}

/// A field's name without what the two spell differently, and a scalar in it.
type Shown<'a> = (String, &'a str);

/// The scalars in what `Debug` shows. Names of types and wrappers around one value do not count.
fn shown(text: &str) -> Vec<Shown<'_>> {
    let mut out = Vec::new();
    let mut name = String::new();
    let mut depth = 0;
    // Depth at which unknown tags were met: all inside is skipped.
    let mut skipped = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_bytes = rest.starts_with("b\"");
        if first == '"' || is_bytes {
            let (token, behind) = rest.split_at(literal(rest, usize::from(is_bytes)));
            if skipped.is_none() {
                out.push((name.clone(), token));
            }
            rest = behind;
            continue;
        }
        let end = rest
            .find(|letter: char| !letter.is_alphanumeric() && !"_-.#".contains(letter))
            .unwrap_or(rest.len());
        let (token, behind) = rest.split_at(end.max(first.len_utf8()));
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                skipped = skipped.filter(|from| depth > *from);
            }
            _ if end == 0 || skipped.is_some() => {}
            _ if behind.starts_with(": ") => {
                name = token.replace('_', "");
                if token == "unknown_tagged_fields" {
                    skipped = Some(depth);
                }
            }
            // A type, a wrapper, or the text before the number of an unknown error code.
            _ if behind.starts_with(" {") || behind.starts_with('(') || token == "error" => {}
            _ => out.push((name.clone(), token)),
        }
        rest = behind;
    }
    out
}

/// Where a literal of text or bytes ends.
fn literal(text: &str, prefix: usize) -> usize {
    let mut is_escaped = false;
    let end = text[prefix + 1..].find(|letter| {
        let is_end = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end
    });
    prefix + 2 + end.expect("the end of a literal")
}

#[test]
fn fields_are_read_from_debug() {
    let ours = r#"A { id: -1, name: Some("x\", y: {"), error_code: error 7(7), unknown_tagged_fields: TaggedFields([(1, b"]")]), list: [1, 2] }"#;
    let theirs = r#"A { id: B(-1), name: Some(Name("x\", y: {")), error_code: 7, unknown_tagged_fields: {1: b"]"}, list: [1, 3], more: None }"#;
    let (ours, theirs) = fields_of_both(ours, theirs);
    assert_eq!(ours.len(), 5);
    assert_eq!(ours[..4], theirs[..4]);
    assert_eq!((ours[4].1, theirs[4].1), ("2", "3"));
}

fn pairs() -> HashMap<&'static str, Pair> {
    macro_rules! pairs {
        ($($api:ident)*) => {
            [$(
                Pair::of::<messages::$api, other::$api>(),
            )*]
        };
    }
    pairs! {
        AddOffsetsToTxnRequest
        AddOffsetsToTxnResponse
        AddPartitionsToTxnRequest
        AddPartitionsToTxnResponse
        AlterClientQuotasRequest
        AlterClientQuotasResponse
        AlterConfigsRequest
        AlterConfigsResponse
        AlterPartitionReassignmentsRequest
        AlterPartitionReassignmentsResponse
        AlterReplicaLogDirsRequest
        AlterReplicaLogDirsResponse
        AlterShareGroupOffsetsRequest
        AlterShareGroupOffsetsResponse
        AlterUserScramCredentialsRequest
        AlterUserScramCredentialsResponse
        ApiVersionsRequest
        ApiVersionsResponse
        ConsumerGroupDescribeRequest
        ConsumerGroupDescribeResponse
        ConsumerGroupHeartbeatRequest
        ConsumerGroupHeartbeatResponse
        ConsumerProtocolAssignment
        ConsumerProtocolSubscription
        CreateAclsRequest
        CreateAclsResponse
        CreateDelegationTokenRequest
        CreateDelegationTokenResponse
        CreatePartitionsRequest
        CreatePartitionsResponse
        CreateTopicsRequest
        CreateTopicsResponse
        DeleteAclsRequest
        DeleteAclsResponse
        DeleteGroupsRequest
        DeleteGroupsResponse
        DeleteRecordsRequest
        DeleteRecordsResponse
        DeleteShareGroupOffsetsRequest
        DeleteShareGroupOffsetsResponse
        DeleteTopicsRequest
        DeleteTopicsResponse
        DescribeAclsRequest
        DescribeAclsResponse
        DescribeClientQuotasRequest
        DescribeClientQuotasResponse
        DescribeClusterRequest
        DescribeClusterResponse
        DescribeConfigsRequest
        DescribeConfigsResponse
        DescribeDelegationTokenRequest
        DescribeDelegationTokenResponse
        DescribeGroupsRequest
        DescribeGroupsResponse
        DescribeLogDirsRequest
        DescribeLogDirsResponse
        DescribeProducersRequest
        DescribeProducersResponse
        DescribeQuorumRequest
        DescribeQuorumResponse
        DescribeShareGroupOffsetsRequest
        DescribeShareGroupOffsetsResponse
        DescribeTopicPartitionsRequest
        DescribeTopicPartitionsResponse
        DescribeTransactionsRequest
        DescribeTransactionsResponse
        DescribeUserScramCredentialsRequest
        DescribeUserScramCredentialsResponse
        ElectLeadersRequest
        ElectLeadersResponse
        EndTxnMarker
        EndTxnRequest
        EndTxnResponse
        ExpireDelegationTokenRequest
        ExpireDelegationTokenResponse
        FetchRequest
        FetchResponse
        FindCoordinatorRequest
        FindCoordinatorResponse
        GetTelemetrySubscriptionsRequest
        GetTelemetrySubscriptionsResponse
        HeartbeatRequest
        HeartbeatResponse
        IncrementalAlterConfigsRequest
        IncrementalAlterConfigsResponse
        InitProducerIdRequest
        InitProducerIdResponse
        JoinGroupRequest
        JoinGroupResponse
        LeaveGroupRequest
        LeaveGroupResponse
        ListConfigResourcesRequest
        ListConfigResourcesResponse
        ListGroupsRequest
        ListGroupsResponse
        ListOffsetsRequest
        ListOffsetsResponse
        ListPartitionReassignmentsRequest
        ListPartitionReassignmentsResponse
        ListTransactionsRequest
        ListTransactionsResponse
        MetadataRequest
        MetadataResponse
        OffsetCommitRequest
        OffsetCommitResponse
        OffsetDeleteRequest
        OffsetDeleteResponse
        OffsetFetchRequest
        OffsetFetchResponse
        OffsetForLeaderEpochRequest
        OffsetForLeaderEpochResponse
        ProduceRequest
        ProduceResponse
        PushTelemetryRequest
        PushTelemetryResponse
        RenewDelegationTokenRequest
        RenewDelegationTokenResponse
        RequestHeader
        ResponseHeader
        SaslAuthenticateRequest
        SaslAuthenticateResponse
        SaslHandshakeRequest
        SaslHandshakeResponse
        ShareAcknowledgeRequest
        ShareAcknowledgeResponse
        ShareFetchRequest
        ShareFetchResponse
        ShareGroupDescribeRequest
        ShareGroupDescribeResponse
        ShareGroupHeartbeatRequest
        ShareGroupHeartbeatResponse
        SyncGroupRequest
        SyncGroupResponse
        TxnOffsetCommitRequest
        TxnOffsetCommitResponse
        UpdateFeaturesRequest
        UpdateFeaturesResponse
        WriteTxnMarkersRequest
        WriteTxnMarkersResponse
    }
    .into_iter()
    .collect()
}

#[test]
fn every_message_has_its_pair_or_is_known_to_have_none() {
    let pairs = pairs();
    let mut missing = Vec::new();
    let mut newer = Vec::new();
    for table in tables() {
        match pairs.get(table.name.as_str()) {
            None => missing.push(table.name),
            Some(pair) => {
                let (first, last) = (pair.versions.start(), pair.versions.end());
                assert!(*first <= table.versions.min, "{}: theirs begins with {first}", table.name);
                if *last < table.versions.max {
                    newer.push((table.name, last + 1..=table.versions.max));
                }
            }
        }
    }
    missing.sort();
    newer.sort_by(|one, other| one.0.cmp(&other.0));
    let newer: Vec<_> = newer.iter().map(|(name, versions)| (name.as_str(), versions.clone())).collect();
    assert_eq!(missing, UNKNOWN);
    assert_eq!(newer, NEWER);
}

#[test]
fn both_codecs_agree_on_arbitrary_messages() {
    let pairs = pairs();
    let (mut messages, mut versions) = (0, 0);
    for table in tables() {
        let Some(pair) = pairs.get(table.name.as_str()) else { continue };
        messages += 1;
        for version in table.versions.min..=table.versions.max.min(*pair.versions.end()) {
            versions += 1;
            agree(&table, version, pair.check);
        }
    }
    println!("{messages} messages, {versions} versions");
}

fn agree(table: &table::Message, version: i16, check: Check) {
    // PROPTEST_CASES overrides the number, PROPTEST_RNG_SEED the seed.
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 64;
    }
    let mut runner = TestRunner::new(config);
    let result = runner.run(&vec(any::<u8>(), 0..400), |choices| {
        let bytes = sample(table, version, &mut Choices::new(&choices));
        check(&bytes, version)
    });
    if let Err(why) = result {
        panic!("{} v{version}: {why}", table.name);
    }
}
