{{/* The parts of the pod that are choices: its flags, its volumes, and what claims them. */}}

{{- define "millrace.args" -}}
- run
- --kubernetes
# Not the root of the volume, where file systems keep things of their own.
- --data=/var/lib/millrace/data
- --listen={{ .Values.bindAddress }}:8080
# `kubectl exec` and `kubectl port-forward` reach it; nobody else does.
- --admin-listen=127.0.0.1:9090
- --probe-listen={{ .Values.bindAddress }}:9091
{{- if .Values.allowAnonymous }}
- --allow-anonymous
{{- end }}
{{- with include "millrace.defaultBroker" . }}
- --ensure-broker={{ . }}
{{- end }}
{{- if include "millrace.defaultClass" . }}
- --default-class
{{- end }}
- --public-url=http://{{ include "millrace.host" . }}
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
