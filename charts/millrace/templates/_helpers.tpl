{{/* Names, labels and choices that several templates share. */}}

{{- define "millrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of most objects. 52 characters: the StatefulSet's pods have a hash of 11 in a label. */}}
{{- define "millrace.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "millrace.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "millrace.selectorLabels" -}}
app.kubernetes.io/name: {{ include "millrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "millrace.labels" -}}
{{ include "millrace.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: millrace
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "millrace.serviceAccountName" -}}
{{- default (ternary (include "millrace.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "millrace.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "millrace.imagePullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The Broker that is made at the start, as namespace/name; nothing where none is. */}}
{{- define "millrace.defaultBroker" -}}
{{- with .Values.defaultBroker -}}
{{- if .create }}{{ default (include "millrace.namespace" $) .namespace }}/{{ .name }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The Broker that examples and the test send to. */}}
{{- define "millrace.testedBroker" -}}
{{- default (include "millrace.defaultBroker" .) .Values.tests.broker -}}
{{- end -}}

{{/* Whether Brokers without a class are ours: "true" or "". */}}
{{- define "millrace.defaultClass" -}}
{{- $unset := eq (.Values.defaultClass | toString) "<nil>" -}}
{{- if or (and $unset (eq .Values.crds.eventing "install")) (and (not $unset) .Values.defaultClass) }}true{{ end -}}
{{- end -}}

{{/* Where producers reach the Service, whose port is left out where it is that of HTTP. */}}
{{- define "millrace.host" -}}
{{- include "millrace.fullname" . }}.{{ include "millrace.namespace" . }}.svc.{{ .Values.clusterDomain }}
{{- if ne (int .Values.service.port) 80 }}:{{ .Values.service.port }}{{ end -}}
{{- end -}}

{{/* The Service that a StatefulSet must have, and that metrics are read from. */}}
{{- define "millrace.podsService" -}}
{{- include "millrace.fullname" . }}-pods
{{- end -}}

{{/* Combinations that cannot work, each refused in one sentence. */}}
{{- define "millrace.check" -}}
{{- $broker := splitList "/" (include "millrace.defaultBroker" .) | first -}}
{{- if and .Values.watchNamespaces $broker (not (has $broker .Values.watchNamespaces)) -}}
{{- fail (printf "the default Broker is made in the namespace %s, which watchNamespaces does not name: add it, set defaultBroker.namespace, or set defaultBroker.create=false" $broker) -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and .enabled (eq (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable)) -}}
{{- fail "podDisruptionBudget needs exactly one of minAvailable and maxUnavailable" -}}
{{- end -}}
{{- end -}}
{{- with .Values.trustedCertificates -}}
{{- if and .existingSecret .existingConfigMap -}}
{{- fail "trustedCertificates takes existingSecret or existingConfigMap, not both" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs: the Gateways that it belongs to" -}}
{{- end -}}
{{- end -}}
