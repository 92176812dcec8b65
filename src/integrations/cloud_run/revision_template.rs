//! The members of the revision templates of services and worker pools and of a job's execution template, as Google publishes them for the Cloud Run Admin API v2.
//!
//! Written down here, and compared with the published description by a test, because the official
//! client keeps members that it does not know without a word.

use Shape::{Choice, Duration, Flag, Int32, Int64, List, Message as Nested, Number, Text, Texts};

/// The members that an object may have, by name.
pub(super) type Message = &'static [Member];

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Who writes it, and whether its default is the same as its absence.
    pub kind: Kind,
}

/// Who writes a member, and whether its default is the same as its absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The caller writes it; the default value says the same as leaving it out.
    Plain,
    /// The caller writes it; its default value is not the same as leaving it out.
    WithPresence,
    /// The caller writes at most one of those of its object; setting one takes out what runs.
    Alternative,
    /// Cloud Run alone writes it.
    OutputOnly,
}

/// What a member holds, in protobuf's JSON mapping.
#[derive(Debug)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits, written as a string.
    Int64,
    /// Any number.
    Number,
    /// Seconds with an `s`, such as `300s`.
    Duration,
    /// One of these names; their places are their numbers, and the first means "not set".
    Choice(&'static [&'static str]),
    /// Strings by freely chosen names.
    Texts,
    /// An object.
    Message(Message),
    /// A list.
    List(&'static Shape),
}

const fn member(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, kind: Kind::Plain }
}

const fn with_presence(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, kind: Kind::WithPresence }
}

const fn alternative(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, kind: Kind::Alternative }
}

const fn output_only(name: &'static str) -> Member {
    Member { name, shape: Nested(&[]), kind: Kind::OutputOnly }
}

/// `GoogleCloudRunV2RevisionTemplate`.
pub(super) const REVISION_TEMPLATE: Message = &[
    member("ambientNetworking", Nested(AMBIENT_NETWORKING)),
    member("annotations", Texts),
    member("client", Text),
    member("clientVersion", Text),
    member("containers", List(&Nested(CONTAINER))),
    member("encryptionKey", Text),
    member("encryptionKeyRevocationAction", ENCRYPTION_KEY_REVOCATION_ACTION),
    member("encryptionKeyShutdownDuration", Duration),
    member("executionEnvironment", EXECUTION_ENVIRONMENT),
    with_presence("gpuZonalRedundancyDisabled", Flag),
    member("healthCheckDisabled", Flag),
    member("labels", Texts),
    member("maxInstanceRequestConcurrency", Int32),
    member("nodeSelector", Nested(NODE_SELECTOR)),
    member("revision", Text),
    member("sandboxes", Nested(SANDBOX_CONFIGURATION)),
    member("scaling", Nested(REVISION_SCALING)),
    member("serviceAccount", Text),
    member("serviceMesh", Nested(SERVICE_MESH)),
    member("sessionAffinity", Flag),
    member("timeout", Duration),
    member("volumes", List(&Nested(VOLUME))),
    member("vpcAccess", Nested(VPC_ACCESS)),
    member("workloadIdentityConfig", Nested(WORKLOAD_IDENTITY_CONFIG)),
];

/// `GoogleCloudRunV2WorkerPoolRevisionTemplate`.
pub(super) const WORKER_POOL_REVISION_TEMPLATE: Message = &[
    member("annotations", Texts),
    member("client", Text),
    member("clientVersion", Text),
    member("containers", List(&Nested(CONTAINER))),
    member("encryptionKey", Text),
    member("encryptionKeyRevocationAction", ENCRYPTION_KEY_REVOCATION_ACTION),
    member("encryptionKeyShutdownDuration", Duration),
    with_presence("gpuZonalRedundancyDisabled", Flag),
    member("labels", Texts),
    member("nodeSelector", Nested(NODE_SELECTOR)),
    member("revision", Text),
    member("sandboxes", Nested(SANDBOX_CONFIGURATION)),
    member("serviceAccount", Text),
    member("serviceMesh", Nested(SERVICE_MESH)),
    member("volumes", List(&Nested(VOLUME))),
    member("vpcAccess", Nested(VPC_ACCESS)),
];

/// `GoogleCloudRunV2ExecutionTemplate`.
pub(super) const EXECUTION_TEMPLATE: Message = &[
    member("annotations", Texts),
    member("client", Text),
    member("clientVersion", Text),
    member("delayExecution", Flag),
    member("labels", Texts),
    member("parallelism", Int32),
    member("taskCount", Int32),
    member("template", Nested(TASK_TEMPLATE)),
];

const TASK_TEMPLATE: Message = &[
    member("containers", List(&Nested(CONTAINER))),
    member("encryptionKey", Text),
    member("executionEnvironment", EXECUTION_ENVIRONMENT),
    with_presence("gpuZonalRedundancyDisabled", Flag),
    with_presence("maxRetries", Int32),
    member("nodeSelector", Nested(NODE_SELECTOR)),
    member("sandboxes", Nested(SANDBOX_CONFIGURATION)),
    member("serviceAccount", Text),
    member("timeout", Duration),
    member("volumes", List(&Nested(VOLUME))),
    member("vpcAccess", Nested(VPC_ACCESS)),
    member("workloadIdentityConfig", Nested(WORKLOAD_IDENTITY_CONFIG)),
];

const ENCRYPTION_KEY_REVOCATION_ACTION: Shape =
    Choice(&["ENCRYPTION_KEY_REVOCATION_ACTION_UNSPECIFIED", "PREVENT_NEW", "SHUTDOWN"]);

const EXECUTION_ENVIRONMENT: Shape = Choice(&[
    "EXECUTION_ENVIRONMENT_UNSPECIFIED",
    "EXECUTION_ENVIRONMENT_GEN1",
    "EXECUTION_ENVIRONMENT_GEN2",
]);

const AMBIENT_NETWORKING: Message = &[
    member(
        "ambientScope",
        Choice(&["AMBIENT_SCOPE_UNSPECIFIED", "AMBIENT_SCOPE_REGIONAL", "AMBIENT_SCOPE_GLOBAL"]),
    ),
    member("enabled", Flag),
];

const CONTAINER: Message = &[
    member("args", List(&Text)),
    member("baseImageUri", Text),
    member("buildConfig", Nested(BUILD_CONFIGURATION)),
    output_only("buildInfo"),
    member("command", List(&Text)),
    member("dependsOn", List(&Text)),
    member("env", List(&Nested(ENV_VAR))),
    member("image", Text),
    member("livenessProbe", Nested(PROBE)),
    member("name", Text),
    member("ports", List(&Nested(CONTAINER_PORT))),
    member("readinessProbe", Nested(PROBE)),
    member("resources", Nested(RESOURCE_REQUIREMENTS)),
    member("sandboxLauncher", Flag),
    member("sourceCode", Nested(SOURCE_CODE)),
    member("startupProbe", Nested(PROBE)),
    member("volumeMounts", List(&Nested(VOLUME_MOUNT))),
    member("workingDir", Text),
];

const BUILD_CONFIGURATION: Message = &[
    member("buildpacksBuild", Nested(BUILD_CONFIGURATION_BUILDPACKS_BUILD)),
    member("dockerBuild", Nested(BUILD_CONFIGURATION_DOCKER_BUILD)),
    member("imageRepositoryUri", Text),
    member("serviceAccount", Text),
    member("tags", List(&Text)),
    member("workerConfiguration", Nested(WORKER_CONFIGURATION)),
];

const BUILD_CONFIGURATION_BUILDPACKS_BUILD: Message = &[
    member("buildBaseImageUri", Text),
    member("cacheImageUri", Text),
    member("environmentVariables", Texts),
];

const BUILD_CONFIGURATION_DOCKER_BUILD: Message = &[];

const WORKER_CONFIGURATION: Message =
    &[member("cloudBuildWorkerConfiguration", Nested(CLOUD_BUILD_WORKER_CONFIGURATION))];

const CLOUD_BUILD_WORKER_CONFIGURATION: Message =
    &[member("machineType", Text), member("workerPool", Text)];

const ENV_VAR: Message = &[
    member("name", Text),
    with_presence("value", Text),
    member("valueSource", Nested(ENV_VAR_SOURCE)),
];

const ENV_VAR_SOURCE: Message = &[member("secretKeyRef", Nested(SECRET_KEY_SELECTOR))];

const SECRET_KEY_SELECTOR: Message = &[member("secret", Text), member("version", Text)];

const PROBE: Message = &[
    member("failureThreshold", Int32),
    alternative("grpc", Nested(GRPC_ACTION)),
    alternative("httpGet", Nested(HTTP_GET_ACTION)),
    member("initialDelaySeconds", Int32),
    member("periodSeconds", Int32),
    alternative("tcpSocket", Nested(TCP_SOCKET_ACTION)),
    member("timeoutSeconds", Int32),
];

const GRPC_ACTION: Message = &[member("port", Int32), member("service", Text)];

const HTTP_GET_ACTION: Message = &[
    member("httpHeaders", List(&Nested(HTTP_HEADER))),
    member("path", Text),
    member("port", Int32),
];

const HTTP_HEADER: Message = &[member("name", Text), member("value", Text)];

const TCP_SOCKET_ACTION: Message = &[member("port", Int32)];

const CONTAINER_PORT: Message = &[member("containerPort", Int32), member("name", Text)];

const RESOURCE_REQUIREMENTS: Message =
    &[member("cpuIdle", Flag), member("limits", Texts), member("startupCpuBoost", Flag)];

const SOURCE_CODE: Message = &[
    member("cloudStorageSource", Nested(CLOUD_STORAGE_SOURCE)),
    member("inlinedSource", Nested(INLINED_SOURCE)),
];

const CLOUD_STORAGE_SOURCE: Message =
    &[member("bucket", Text), member("generation", Int64), member("object", Text)];

const INLINED_SOURCE: Message = &[member("sources", List(&Nested(SOURCE_FILE)))];

const SOURCE_FILE: Message = &[member("content", Text), member("filename", Text)];

const VOLUME_MOUNT: Message =
    &[member("mountPath", Text), member("name", Text), member("subPath", Text)];

const NODE_SELECTOR: Message = &[member("accelerator", Text)];

const SANDBOX_CONFIGURATION: Message = &[member("templates", List(&Nested(SANDBOX_TEMPLATE)))];

const SANDBOX_TEMPLATE: Message = &[
    member("args", List(&Text)),
    member("command", List(&Text)),
    member("env", List(&Nested(ENV_VAR))),
    member("image", Text),
    member("name", Text),
    member("volumeMounts", List(&Nested(VOLUME_MOUNT))),
    member("workingDir", Text),
];

const REVISION_SCALING: Message = &[
    member("concurrencyUtilization", Number),
    member("cpuUtilization", Number),
    member("maxInstanceCount", Int32),
    member("minInstanceCount", Int32),
];

const SERVICE_MESH: Message = &[member("mesh", Text)];

const VOLUME: Message = &[
    member("cloudSqlInstance", Nested(CLOUD_SQL_INSTANCE)),
    member("emptyDir", Nested(EMPTY_DIR_VOLUME_SOURCE)),
    member("filestore", Nested(FILESTORE_VOLUME_SOURCE)),
    member("gcs", Nested(GCS_VOLUME_SOURCE)),
    member("name", Text),
    member("nfs", Nested(NFS_VOLUME_SOURCE)),
    member("secret", Nested(SECRET_VOLUME_SOURCE)),
];

const CLOUD_SQL_INSTANCE: Message = &[member("instances", List(&Text))];

const EMPTY_DIR_VOLUME_SOURCE: Message = &[
    member("medium", Choice(&["MEDIUM_UNSPECIFIED", "MEMORY", "DISK"])),
    member("sizeLimit", Text),
];

const FILESTORE_VOLUME_SOURCE: Message = &[member("volume", Text)];

const GCS_VOLUME_SOURCE: Message =
    &[member("bucket", Text), member("mountOptions", List(&Text)), member("readOnly", Flag)];

const NFS_VOLUME_SOURCE: Message =
    &[member("path", Text), member("readOnly", Flag), member("server", Text)];

const SECRET_VOLUME_SOURCE: Message = &[
    member("defaultMode", Int32),
    member("items", List(&Nested(VERSION_TO_PATH))),
    member("secret", Text),
];

const VERSION_TO_PATH: Message =
    &[member("mode", Int32), member("path", Text), member("version", Text)];

const VPC_ACCESS: Message = &[
    member("connector", Text),
    member("egress", Choice(&["VPC_EGRESS_UNSPECIFIED", "ALL_TRAFFIC", "PRIVATE_RANGES_ONLY"])),
    member("networkInterfaces", List(&Nested(NETWORK_INTERFACE))),
];

const NETWORK_INTERFACE: Message =
    &[member("network", Text), member("subnetwork", Text), member("tags", List(&Text))];

const WORKLOAD_IDENTITY_CONFIG: Message = &[
    member("identity", Text),
    member("identityCertificateEnabled", Flag),
    member(
        "identityType",
        Choice(&[
            "IDENTITY_TYPE_UNSPECIFIED",
            "IDENTITY_TYPE_SERVICE_ACCOUNT",
            "IDENTITY_TYPE_AGENT_IDENTITY",
        ]),
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What the table says and what Google says of one member, in the description's own words.
    fn assert_same(shape: &Shape, published: &Value, schemas: &Value, path: &str) {
        let kind = (published["type"].as_str(), published["format"].as_str());
        match shape {
            Nested(message) => {
                let schema = published["$ref"].as_str().unwrap();
                assert_same_members(message, &schemas[schema]["properties"], schemas, path);
            }
            List(items) => {
                assert_eq!(kind, (Some("array"), None), "{path}");
                assert_same(items, &published["items"], schemas, path);
            }
            Texts => assert_eq!(published["additionalProperties"]["type"], "string", "{path}"),
            Choice(names) => {
                assert_eq!(published["enum"], serde_json::to_value(names).unwrap(), "{path}");
            }
            Text => {
                assert_eq!(kind, (Some("string"), None), "{path}");
                assert!(published["enum"].is_null(), "{path}");
            }
            Flag => assert_eq!(kind, (Some("boolean"), None), "{path}"),
            Int32 => assert_eq!(kind, (Some("integer"), Some("int32")), "{path}"),
            Int64 => assert_eq!(kind, (Some("string"), Some("int64")), "{path}"),
            Number => assert_eq!(kind, (Some("number"), Some("float")), "{path}"),
            Duration => assert_eq!(kind, (Some("string"), Some("google-duration")), "{path}"),
        }
    }

    fn assert_same_members(message: Message, published: &Value, schemas: &Value, path: &str) {
        let names: Vec<&str> = message.iter().map(|member| member.name).collect();
        let published_names: Vec<&str> =
            published.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, published_names, "{path}");
        for Member { name, shape, kind } in message {
            let path = format!("{path}.{name}");
            assert_eq!(published[name]["readOnly"] == true, *kind == Kind::OutputOnly, "{path}");
            if *kind != Kind::OutputOnly {
                assert_same(shape, &published[name], schemas, &path);
            }
        }
    }

    #[test]
    fn the_table_is_what_google_publishes() {
        let description = include_str!("../../../tests/data/cloud-run-v2-discovery.json");
        let description: Value = serde_json::from_str(description).unwrap();
        let schemas = &description["schemas"];
        for (message, name) in [
            (REVISION_TEMPLATE, "GoogleCloudRunV2RevisionTemplate"),
            (WORKER_POOL_REVISION_TEMPLATE, "GoogleCloudRunV2WorkerPoolRevisionTemplate"),
            (EXECUTION_TEMPLATE, "GoogleCloudRunV2ExecutionTemplate"),
        ] {
            assert_same_members(message, &schemas[name]["properties"], schemas, "template");
        }
    }
}
