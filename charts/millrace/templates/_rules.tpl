{{/* What the account may do: everything is read but for status and Kubernetes Events. */}}

{{/* In each namespace whose objects are served. */}}
{{- define "millrace.rules" -}}
- apiGroups: [eventing.knative.dev]
  resources: [brokers, eventpolicies, triggers]
  verbs: [get, list, watch]
- apiGroups: [sources.millrace.dev]
  resources: [apiserversources, cronsources, gitwebhooksources, kafkasources]
  verbs: [get, list, watch]
- apiGroups: [sinks.millrace.dev]
  resources: [kafkasinks]
  verbs: [get, list, watch]
- apiGroups: [eventing.knative.dev]
  resources: [brokers/status, eventpolicies/status, triggers/status]
  verbs: [patch]
- apiGroups: [sources.millrace.dev]
  resources: [apiserversources/status, cronsources/status, gitwebhooksources/status, kafkasources/status]
  verbs: [patch]
- apiGroups: [sinks.millrace.dev]
  resources: [kafkasinks/status]
  verbs: [patch]
# Subscribers and sinks.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
# What changed, for people.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A role or binding's metadata: (dict "root" $ "name" "suffix" "namespace" "x"). */}}
{{- define "millrace.roleMetadata" -}}
name: {{ include "millrace.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "millrace.labels" .root | nindent 2 }}
{{- end -}}

{{/* The binding of a role to the account: (dict "root" $ "suffix" "x" "namespace" "y"); without a namespace, of a ClusterRole. */}}
{{- define "millrace.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne .namespace "") }}
metadata:
  {{- include "millrace.roleMetadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "Role" "ClusterRole" (ne .namespace "") }}
  name: {{ include "millrace.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
subjects:
  - kind: ServiceAccount
    name: {{ include "millrace.serviceAccountName" .root }}
    namespace: {{ include "millrace.namespace" .root }}
{{- end -}}
