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

{{/* The names of the Service, the longest first. */}}
{{- define "millrace.names" -}}
{{- $short := printf "%s.%s.svc" (include "millrace.fullname" .) (include "millrace.namespace" .) -}}
{{- $short }}.{{ .Values.clusterDomain }} {{ $short -}}
{{- end -}}

{{/* The port of the Service that producers send to. */}}
{{- define "millrace.port" -}}
{{- ternary .Values.service.port .Values.service.tlsPort .Values.tls.http -}}
{{- end -}}

{{/* Where producers reach the Service: by http if they may. The port is left out where the scheme implies it. */}}
{{- define "millrace.url" -}}
{{- $port := int (include "millrace.port" .) -}}
{{- ternary "http" "https" .Values.tls.http }}://{{ splitList " " (include "millrace.names" .) | first }}
{{- if ne $port (ternary 80 443 .Values.tls.http) }}:{{ $port }}{{ end -}}
{{- end -}}

{{/* Where they reach it by https, if they may use http too: a URL or "". */}}
{{- define "millrace.tlsUrl" -}}
{{- if and .Values.tls.existingSecret .Values.tls.http -}}
https://{{ splitList " " (include "millrace.names" .) | first }}
{{- if ne (int .Values.service.tlsPort) 443 }}:{{ .Values.service.tlsPort }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether there is an access file: "true" or "". */}}
{{- define "millrace.accessFile" -}}
{{- if or .Values.access.existingSecret .Values.access.existingConfigMap }}true{{ end -}}
{{- end -}}

{{/* Whether it says who may call: "true" or "". */}}
{{- define "millrace.access" -}}
{{- if and (include "millrace.accessFile" .) (not .Values.access.onlyLimits) }}true{{ end -}}
{{- end -}}

{{/* Whether `helm test` has a pod: "true" or "". */}}
{{- define "millrace.isTested" -}}
{{- $mayCall := or (not (include "millrace.access" .)) .Values.tests.token.existingSecret -}}
{{- if and .Values.tests.enabled (include "millrace.testedBroker" .) $mayCall }}true{{ end -}}
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
{{- range $name, $source := dict "access" .Values.access "tls.clientCa" .Values.tls.clientCa -}}
{{- if and $source.existingSecret $source.existingConfigMap -}}
{{- fail (printf "%s takes existingSecret or existingConfigMap, not both" $name) -}}
{{- end -}}
{{- end -}}
{{- $asked := or .Values.tls.clientCa.existingSecret .Values.tls.clientCa.existingConfigMap -}}
{{- if and (not .Values.tls.existingSecret) (or (not .Values.tls.http) $asked .Values.admin.enabled .Values.tls.showCa) -}}
{{- fail "tls.http=false, tls.showCa, tls.clientCa and admin.enabled need tls.existingSecret: the certificate that clients are shown" -}}
{{- end -}}
{{- if and (ne .Values.tls.clients "optional") (not $asked) -}}
{{- fail "tls.clients=required needs tls.clientCa: the authorities whose certificates are taken" -}}
{{- end -}}
{{- if and .Values.admin.enabled (not (include "millrace.access" .)) -}}
{{- fail "admin.enabled needs access.existingSecret or access.existingConfigMap: who may operate" -}}
{{- end -}}
{{- if and .Values.access.onlyLimits (not (include "millrace.accessFile" .)) -}}
{{- fail "access.onlyLimits needs access.existingSecret or access.existingConfigMap: the file that limits" -}}
{{- end -}}
{{- if not (or .Values.allowAnonymous (include "millrace.access" .)) -}}
{{- fail "allowAnonymous=false needs access.existingSecret or access.existingConfigMap, with a file that asks who calls: else nobody could call" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs: the Gateways that it belongs to" -}}
{{- end -}}
{{- end -}}
