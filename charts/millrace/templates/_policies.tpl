{{/*
Whether an object of an admission policy is part of the release: "true" or "". Those of Knative's group are for clusters whose
Brokers and Triggers are ours; those that change objects need Kubernetes 1.36.
*/}}
{{- define "millrace.policyWanted" -}}
{{- $ours := eq .root.Values.crds.eventing "install" -}}
{{- $changes := hasPrefix "Mutating" .policy.kind -}}
{{- $modern := semverCompare ">=1.36.0-0" .root.Capabilities.KubeVersion.Version -}}
{{- $about := ternary "eventing" "sources" (or (contains "broker" .policy.metadata.name) (contains "trigger" .policy.metadata.name)) -}}
{{- $class := ne .file "default-class.yaml" | or (include "millrace.defaultClass" .root) -}}
{{- if and (or $ours (eq $about "sources")) (or $modern (not $changes)) $class }}true{{ end -}}
{{- end -}}
