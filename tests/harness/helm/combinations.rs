//! What the pages on Kubernetes show or name of the chart's values.

/// A namespace that is served in namespaced mode beside that of the release.
pub const TEAM: &str = "team-a";

/// Each combination by what it is for, with the values that choose it.
pub const COMBINATIONS: [(&str, &[&str]); 19] = [
    ("as it comes", &[]),
    ("some namespaces", &[r#"watchNamespaces=["millrace","team-a"]"#]),
    ("beside Knative Eventing", &["crds.eventing=skip"]),
    ("definitions of an administrator", &["crds.enabled=false"]),
    ("a Broker of one's own", &["defaultBroker.create=false"]),
    (
        "a Broker elsewhere",
        &["defaultBroker.name=events", "defaultBroker.namespace=team-a"],
    ),
    (
        "webhooks by an Ingress",
        &[
            "ingress.enabled=true",
            "ingress.className=nginx",
            r#"ingress.hosts=["hooks.example.com","hooks.example.org"]"#,
            r#"ingress.tls=[{"secretName":"hooks","hosts":["hooks.example.com"]}]"#,
        ],
    ),
    ("webhooks by any host", &["ingress.enabled=true"]),
    (
        "webhooks by a Gateway",
        &[
            "httpRoute.enabled=true",
            r#"httpRoute.parentRefs=[{"name":"public","namespace":"gateways"}]"#,
            r#"httpRoute.hostnames=["hooks.example.com"]"#,
        ],
    ),
    (
        "watched and narrowed",
        &[
            "prometheus.serviceMonitor.enabled=true",
            "prometheus.serviceMonitor.labels.release=prometheus",
            r#"prometheus.serviceMonitor.relabelings=[{"action":"labeldrop","regex":"pod"}]"#,
            "networkPolicy.enabled=true",
            r#"networkPolicy.from=[{"namespaceSelector":{"matchLabels":{"events":"yes"}}}]"#,
            r#"networkPolicy.egress=[{"to":[{"namespaceSelector":{}}]}]"#,
            "podDisruptionBudget.enabled=true",
            "podDisruptionBudget.maxUnavailable=1",
        ],
    ),
    (
        "with what is there",
        &[
            "persistence.existingClaim=events",
            "serviceAccount.create=false",
            "serviceAccount.name=events",
            "rbac.create=false",
            "trustedCertificates.existingSecret=authorities",
            r#"imagePullSecrets=[{"name":"pull"}]"#,
            "image.registry=registry.example.com/team",
            "image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ],
    ),
    ("callers who log in", &["access.existingConfigMap=callers"]),
    (
        "https beside http",
        &["tls.existingSecret=millrace-tls", "access.existingSecret=callers"],
    ),
    (
        "https only, and an admin API",
        &[
            "access.existingConfigMap=callers",
            "tls.existingSecret=millrace-tls",
            "tls.http=false",
            "tls.clientCa.existingSecret=millrace-tls",
            "tls.clients=required",
            "admin.enabled=true",
            r#"admin.allowedHosts=["millrace.example.com"]"#,
            "tests.token.existingSecret=tester",
            "ingress.enabled=true",
            "networkPolicy.enabled=true",
            r#"networkPolicy.adminFrom=[{"podSelector":{"matchLabels":{"operates":"yes"}}}]"#,
        ],
    ),
    (
        "connections to some places only",
        &[
            "refs=same-namespace",
            r#"egress.allow=["public:443","10.20.0.7:8080"]"#,
            r#"egress.deny=["10.30.0.0/16","*:5432"]"#,
        ],
    ),
    (
        "tokens of accounts",
        &[r#"oidc.serviceAccounts=["team-a/deliverer","default/deliverer"]"#],
    ),
    ("a trial", &["persistence.enabled=false", "logFormat=text"]),
    (
        "secrets of further namespaces",
        &[
            r#"rbac.secretNamespaces=["team-a"]"#,
            r#"rbac.channelConfigs=["team-a/on-nats"]"#,
            r#"rbac.extraRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list","watch"]}]"#,
        ],
    ),
    (
        "everything else",
        &[
            "fullnameOverride=events",
            "commonLabels.team=a",
            "persistence.size=50Gi",
            "persistence.storageClass=fast",
            "bindAddress=[::]",
            "service.ipFamilyPolicy=PreferDualStack",
            r#"service.ipFamilies=["IPv4"]"#,
            "memoryBudget=256MiB",
            "hostUsers=false",
            "priorityClassName=high",
            r#"extraArgs=["--max-event-bytes=4MiB"]"#,
            r#"extraEnv=[{"name":"A","value":"b"}]"#,
            r#"extraEnvFrom=[{"secretRef":{"name":"more"}}]"#,
            r#"extraVolumes=[{"name":"more","emptyDir":{}}]"#,
            r#"extraVolumeMounts=[{"name":"more","mountPath":"/more"}]"#,
            r#"extraContainers=[{"name":"beside","image":"x:1"}]"#,
            r#"initContainers=[{"name":"before","image":"x:1"}]"#,
            r#"tolerations=[{"key":"events","operator":"Exists"}]"#,
            r#"topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]"#,
            r#"affinity={"nodeAffinity":{}}"#,
            r#"extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-extra"}}]"#,
        ],
    ),
];
