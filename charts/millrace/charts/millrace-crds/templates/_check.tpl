{{/* Whether definitions of a group are installed: "true" or "". */}}
{{- define "millrace-crds.wanted" -}}
{{- if or (ne .group "eventing.knative.dev") (eq .root.Values.eventing "install") }}true{{ end -}}
{{- end -}}

{{/*
Stops an installation that would take definitions from somebody else, in one sentence. Only `helm install` and `helm upgrade`
can look at the cluster; `helm template` finds nothing.
*/}}
{{- define "millrace-crds.check" -}}
{{- range $path, $_ := .Files.Glob "files/*.yaml" -}}
{{- $definition := $.Files.Get $path | fromYaml -}}
{{- $name := $definition.metadata.name -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- if and $found (include "millrace-crds.wanted" (dict "root" $ "group" $definition.spec.group)) -}}
{{- $labels := default dict $found.metadata.labels -}}
{{- $annotations := default dict $found.metadata.annotations -}}
{{- $release := index $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" -}}
{{- if ne (index $labels "app.kubernetes.io/name" | default "") "millrace" -}}
{{- fail (printf "the definition %s is there already and is not Millrace's: set crds.eventing=skip to use Millrace beside Knative Eventing" $name) -}}
{{- else if and $release (not $.Values.adopt) (or (ne $release $.Release.Name) (ne $namespace $.Release.Namespace)) -}}
{{- fail (printf "the definition %s belongs to the release %s in the namespace %s: set crds.enabled=false to leave it there, or crds.adopt=true with --take-ownership to take it over" $name $release $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
