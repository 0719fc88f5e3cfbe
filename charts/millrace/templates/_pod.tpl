{{/* The parts of the pod that are choices: its flags, its volumes, and what claims them. */}}

{{- define "millrace.args" -}}
- run
- --kubernetes
# Not the root of the volume, where file systems keep things of their own.
- --data=/var/lib/millrace/data
- --listen={{ ternary (printf "%s:8080" .Values.bindAddress) "off" .Values.tls.http }}
{{- if .Values.tls.existingSecret }}
- --listen-tls={{ .Values.bindAddress }}:8443
- --tls-cert=/etc/millrace/tls/tls.crt
- --tls-key=/etc/millrace/tls/tls.key
{{- end }}
{{- with .Values.tls.clientCa }}
{{- if or .existingSecret .existingConfigMap }}
- --tls-client-ca=/etc/millrace/client-ca/{{ .key }}
- --tls-clients={{ $.Values.tls.clients }}
{{- end }}
{{- end }}
# `kubectl exec` and `kubectl port-forward` reach it; nobody else does.
- --admin-listen=127.0.0.1:9090
{{- if .Values.admin.enabled }}
- --admin-listen-tls={{ .Values.bindAddress }}:9443
{{- range concat (splitList " " (include "millrace.names" .)) .Values.admin.allowedHosts }}
- --admin-allowed-hosts={{ . }}
{{- end }}
{{- end }}
- --probe-listen={{ .Values.bindAddress }}:9091
{{- if include "millrace.accessFile" . }}
- --access=/etc/millrace/access/{{ .Values.access.key }}
{{- end }}
{{- if and .Values.allowAnonymous (not (include "millrace.access" .)) }}
- --allow-anonymous
{{- end }}
{{- if ne .Values.refs "any" }}
- --refs={{ .Values.refs }}
{{- end }}
{{- range .Values.egress.allow }}
- {{ printf "--egress-allow=%s" . | quote }}
{{- end }}
{{- range .Values.egress.deny }}
- {{ printf "--egress-deny=%s" . | quote }}
{{- end }}
{{- range .Values.oidc.serviceAccounts }}
- --oidc-service-account={{ . }}
{{- end }}
{{- with include "millrace.defaultBroker" . }}
- --ensure-broker={{ . }}
{{- end }}
{{- if include "millrace.defaultClass" . }}
- --default-class
{{- end }}
- --public-url={{ include "millrace.url" . }}
{{- with include "millrace.tlsUrl" . }}
- --public-url-tls={{ . }}
{{- end }}
{{- if .Values.tls.showCa }}
- --public-ca=/etc/millrace/tls/ca.crt
{{- end }}
- --cluster-domain={{ .Values.clusterDomain }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
- --durability={{ .Values.durability }}
- --drain-timeout={{ .Values.drainTimeout }}
{{- with .Values.memoryBudget }}
- --memory-budget={{ . }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "millrace.volumes" -}}
{{- $trusted := .Values.trustedCertificates -}}
volumes:
  # Where SQLite sorts what is large.
  - {name: tmp, emptyDir: {}}
  {{- if not .Values.persistence.enabled }}
  - {name: data, emptyDir: {}}
  {{- else if .Values.persistence.existingClaim }}
  - {name: data, persistentVolumeClaim: {claimName: {{ .Values.persistence.existingClaim | quote }}}}
  {{- end }}
  {{- if $trusted.existingSecret }}
  - {name: trusted, secret: {secretName: {{ $trusted.existingSecret | quote }}}}
  {{- else if $trusted.existingConfigMap }}
  - {name: trusted, configMap: {name: {{ $trusted.existingConfigMap | quote }}}}
  {{- end }}
  {{- range $name, $source := dict "access" .Values.access "client-ca" .Values.tls.clientCa }}
  {{- if $source.existingSecret }}
  - {name: {{ $name }}, secret: {secretName: {{ $source.existingSecret | quote }}}}
  {{- else if $source.existingConfigMap }}
  - {name: {{ $name }}, configMap: {name: {{ $source.existingConfigMap | quote }}}}
  {{- end }}
  {{- end }}
  {{- with .Values.tls.existingSecret }}
  # Only the process's own group reads the key.
  - {name: tls, secret: {secretName: {{ . | quote }}, defaultMode: 0440}}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Immutable on the server, so nothing is in it that an upgrade changes, such as labels with a version. */}}
{{- define "millrace.claims" -}}
{{- $volume := .Values.persistence -}}
{{- if and $volume.enabled (not $volume.existingClaim) -}}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
    spec:
      accessModes:
        {{- toYaml $volume.accessModes | nindent 8 }}
      {{- with $volume.storageClass }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests:
          storage: {{ $volume.size | quote }}
{{- end -}}
{{- end -}}
