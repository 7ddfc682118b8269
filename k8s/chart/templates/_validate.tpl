{{/*
Values that a schema cannot refuse in words: combinations, formats, and names of other charts. All
problems are reported at once. templates/validate.yaml runs this before anything is installed.
*/}}
{{- define "bailiff.validate" -}}
{{- $problems := concat
  (include "bailiff.foreignValues" . | fromJsonArray)
  (include "bailiff.wrongImages" . | fromJsonArray)
  (include "bailiff.wrongFormats" . | fromJsonArray)
  (include "bailiff.wrongStorage" . | fromJsonArray)
  (include "bailiff.contradictions" . | fromJsonArray) }}
{{- if $problems }}
{{- fail (printf "\n\nthese values cannot work, so nothing was changed:\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}

{{/* A value under a name that the charts of Cilium, Tetragon and Falco use. */}}
{{- define "bailiff.foreignValues" -}}
{{- $problems := list }}
{{- range $name, $ours := .Files.Get "files/foreign-values.yaml" | fromYaml }}
{{- $value := $.Values }}
{{- range splitList "." $name }}
{{- $value = kindIs "map" $value | ternary (get (kindIs "map" $value | ternary $value dict) .) "" }}
{{- end }}
{{- if not (kindIs "string" $value | ternary (empty $value) (kindIs "invalid" $value)) }}
{{- $problems = append $problems (printf "%s is a value of another chart: %s" $name $ours) }}
{{- end }}
{{- end }}
{{- $problems | toJson }}
{{- end }}

{{- define "bailiff.apps" -}}
[collector, ipamSync, correlator, responder, siemRelay, console, evidenceLog, busAuth, busSetup, nats, redis]
{{- end }}

{{- define "bailiff.wrongImages" -}}
{{- $problems := list }}
{{- $registries := dict "global.imageRegistry" .Values.global.imageRegistry }}
{{- range $app := include "bailiff.apps" . | fromYamlArray }}
{{- $image := (index $.Values $app).image }}
{{- $name := printf "%s.image" $app }}
{{- $_ := set $registries (printf "%s.registry" $name) $image.registry }}
{{- if not (regexMatch "^[a-z0-9]+([._/-]+[a-z0-9]+)*$" $image.repository) }}
{{- $problems = append $problems (printf "%s.repository %q is not a repository: give it in lower case, without registry, tag and digest, such as bailiff/collector" $name $image.repository) }}
{{- end }}
{{- if and $image.tag (not (regexMatch "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$" $image.tag)) }}
{{- $problems = append $problems (printf "%s.tag %q is not a tag" $name $image.tag) }}
{{- end }}
{{- if and $image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $image.digest)) }}
{{- $problems = append $problems (printf "%s.digest %q is not a digest: it is sha256: and 64 hexadecimal digits" $name $image.digest) }}
{{- end }}
{{- if and $image.tag $image.digest }}
{{- $problems = append $problems (printf "%s.tag has no effect while %s.digest is set: set one of them to an empty value" $name $name) }}
{{- end }}
{{- if and (not $image.tag) (not $image.digest) (has $app (list "nats" "redis")) }}
{{- $problems = append $problems (printf "%s has neither a tag nor a digest: the version of this chart is not a version of %s" $name $image.repository) }}
{{- end }}
{{- end }}
{{- range $name, $registry := $registries }}
{{- if contains "://" $registry }}
{{- $problems = append $problems (printf "%s %q has a scheme: images have none, so use %s" $name $registry (regexReplaceAll "^.*://" $registry "" | trimSuffix "/")) }}
{{- else if and $registry (not (regexMatch "^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$" $registry)) }}
{{- $problems = append $problems (printf "%s %q is not a registry: give host, host:port or host/path, without a slash at the end" $name $registry) }}
{{- end }}
{{- end }}
{{- $problems | toJson }}
{{- end }}

{{/* Name, value, pattern, and the pattern in words. Empty values have a default. */}}
{{- define "bailiff.wrongFormats" -}}
{{- $size := "^[0-9]+([.][0-9]+)?[KMGTPE]i?$" }}
{{- $sizeText := "is not a size: use a number with Mi, Gi or Ti, such as 16Gi" }}
{{- $bytesText := "is not a size: use whole MiB, GiB or TiB, such as 20GiB" }}
{{- $problems := list }}
{{- range list
  (list "bus.keepDays" (toString .Values.bus.keepDays) "^[0-9]+$" "is not a number of days")
  (list "bus.keepBytes" .Values.bus.keepBytes "^[0-9]+ ?([MGT]iB)?$" $bytesText)
  (list "nats.storage.maxFileStore" .Values.nats.storage.maxFileStore "^[0-9]+ ?[MGT]iB$" $bytesText)
  (list "nats.goMemLimit" .Values.nats.goMemLimit "^[0-9]+[KMGT]iB$" "is not a limit of Go: use whole MiB or GiB, such as 1800MiB")
  (list "nats.storage.size" .Values.nats.storage.size $size $sizeText)
  (list "evidenceLog.storage.size" .Values.evidenceLog.storage.size $size $sizeText)
  (list "evidenceLog.origin" .Values.evidenceLog.origin "^[!-*,-~]{1,253}$" "is not a name of at most 253 characters in ASCII without spaces and +")
  (list "redis.storage.size" .Values.redis.storage.size $size $sizeText)
  (list "collector.cgroupRoot" .Values.collector.cgroupRoot "^/host/cgroup(/|$)" "is not below /host/cgroup, where the container finds the cgroups of the node")
  (list "collector.cniResultsDirs" (join "," .Values.collector.cniResultsDirs) "^/var/lib/cni/[A-Za-z0-9._/-]+(,/var/lib/cni/[A-Za-z0-9._/-]+)*$" "is not below /var/lib/cni, which the container sees")
  (list "cni.confDir" .Values.cni.confDir "^/" "is not an absolute path on the node")
  (list "cni.binDir" .Values.cni.binDir "^/" "is not an absolute path on the node")
  (list "console.externalUrl" .Values.console.externalUrl "^https?://[^/[:space:]]+/?$" "is not the address of a page: use https:// and a host")
  (list "monitoring.runbookBaseUrl" .Values.monitoring.runbookBaseUrl "^https?://[^[:space:]]+$" "is not an address that begins with https://")
  (list "siem.outputs.syslog.address" (.Values.siem.outputs.syslog.address | default "") "^([^:[:space:]]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$" "is not host:port")
}}
{{- $value := index . 1 }}
{{- if and $value (not (regexMatch (index . 2) $value)) }}
{{- $problems = append $problems (printf "%s %q %s" (index . 0) $value (index . 3)) }}
{{- end }}
{{- end }}
{{- $labels := dict "commonLabels" .Values.commonLabels }}
{{- range $app := include "bailiff.apps" . | fromYamlArray }}
{{- $_ := set $labels (printf "%s.podLabels" $app) (index $.Values $app).podLabels }}
{{- end }}
{{- range $name, $value := $labels }}
{{- range $key, $_ := $value }}
{{- if hasPrefix "app.kubernetes.io/" $key }}
{{- $problems = append $problems (printf "%s sets %s, which belongs to the chart: its selectors use it" $name $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- $problems | toJson }}
{{- end }}

{{/* Bytes of a size such as 16Gi, 1.5T or 7GiB, as a float; 0 if it is none. */}}
{{- define "bailiff.bytes" -}}
{{- $unit := regexFind "[KMGTPE]i?" . }}
{{- $power := dict "" 0 "K" 1 "M" 2 "G" 3 "T" 4 "P" 5 "E" 6 }}
{{- $factor := hasSuffix "i" $unit | ternary 1024.0 1000.0 }}
{{- $bytes := regexFind "^[0-9]+([.][0-9]+)?" . | float64 }}
{{- range until (get $power (trimSuffix "i" $unit) | int) }}
{{- $bytes = mulf $bytes $factor }}
{{- end }}
{{- $bytes }}
{{- end }}

{{/*
A volume below what its server may store fills up before the server refuses a message. The numbers
are those of the included servers: max_file_store, the limits of the streams beside VIOLATIONS, and
twice maxmemory of Valkey, which rewrites its file.
*/}}
{{- define "bailiff.wrongStorage" -}}
{{- $problems := list }}
{{- if and (eq .Values.nats.mode "included") .Values.nats.storage.enabled }}
{{- $limit := .Values.nats.storage.maxFileStore | default "12GiB" }}
{{- if not (lt (include "bailiff.bytes" $limit | float64) (include "bailiff.bytes" .Values.nats.storage.size | float64)) }}
{{- $problems = append $problems (printf "nats.storage.size %s is not more than a server may store (nats.storage.maxFileStore, %s): the disk would be full before the bus refuses messages" .Values.nats.storage.size $limit) }}
{{- end }}
{{- $keep := .Values.bus.keepBytes | default "4GiB" }}
{{- $others := include "bailiff.otherStreams" . }}
{{- if gt (addf (include "bailiff.bytes" $keep | float64) (include "bailiff.bytes" $others | float64)) (include "bailiff.bytes" $limit | float64) }}
{{- $problems = append $problems (printf "bus.keepBytes %s, with %s of the other streams, is more than a server may store (nats.storage.maxFileStore, %s): raise maxFileStore, and nats.storage.size above it" $keep $others $limit) }}
{{- end }}
{{- end }}
{{- if and .Values.responder.enabled (eq .Values.redis.mode "included") .Values.redis.storage.enabled }}
{{- if lt (include "bailiff.bytes" .Values.redis.storage.size | float64) (include "bailiff.bytes" "512Mi" | float64) }}
{{- $problems = append $problems (printf "redis.storage.size %s is less than 512Mi, twice what Valkey keeps in memory" .Values.redis.storage.size) }}
{{- end }}
{{- end }}
{{- with .Values.nats.resources.limits }}
{{- if and .memory $.Values.nats.goMemLimit (not (lt (include "bailiff.bytes" $.Values.nats.goMemLimit | float64) (include "bailiff.bytes" (toString .memory) | float64))) }}
{{- $problems = append $problems (printf "nats.goMemLimit %s is not below nats.resources.limits.memory %v: the kernel would kill the server before it frees memory" $.Values.nats.goMemLimit .memory) }}
{{- end }}
{{- end }}
{{- $problems | toJson }}
{{- end }}

{{- define "bailiff.otherStreams" -}}6.5GiB{{- end }}

{{- define "bailiff.contradictions" -}}
{{- $problems := list }}
{{- $types := dict "collector" (list "RollingUpdate" "OnDelete") "siemRelay" (list "Recreate") }}
{{- $why := dict "collector" "it is a DaemonSet" "siemRelay" "a second relay would write every event twice" }}
{{- range $app := list "collector" "ipamSync" "correlator" "responder" "siemRelay" "console" "busAuth" }}
{{- $allowed := get $types $app | default (list "RollingUpdate" "Recreate") }}
{{- $type := (index $.Values $app).updateStrategy.type | default (first $allowed) }}
{{- if not (has $type $allowed) }}
{{- $problems = append $problems (printf "%s.updateStrategy.type %s is not possible (%s): use %s" $app $type (get $why $app | default "it is a Deployment") (join " or " $allowed)) }}
{{- end }}
{{- end }}
{{- range $name := .Values.initialPolicies }}
{{- if not ($.Files.Get (printf "files/policies/%s.yaml" $name)) }}
{{- $known := list }}
{{- range $path, $_ := $.Files.Glob "files/policies/*.yaml" }}
{{- $known = append $known (base $path | trimSuffix ".yaml") }}
{{- end }}
{{- $problems = append $problems (printf "initialPolicies %q is not a ready-made policy: there are %s" $name (join ", " $known)) }}
{{- end }}
{{- end }}
{{- range $path, $_ := .Values.initialConfig }}
{{- if not (regexMatch "^(spoof/cluster|spoof/namespaces/[a-z0-9.-]+|spoof/workloads/[a-z0-9.-]+/[a-z0-9.-]+|(correlation|response|runtime)/[a-z0-9.-]+|runtime/[a-z0-9.-]+/[a-z0-9.-]+)$" $path) }}
{{- $problems = append $problems (printf "initialConfig %q names no key: use spoof/cluster, spoof/namespaces/<namespace>, spoof/workloads/<namespace>/<owner>, correlation/<rule>, response/<policy>, runtime/<policy> or runtime/<namespace>/<policy>" $path) }}
{{- end }}
{{- if and (eq $path "spoof/cluster") (eq $.Values.initialMode "audit") }}
{{- $problems = append $problems "initialConfig spoof/cluster has no effect with initialMode=audit, which stores this key first" }}
{{- end }}
{{- if and (hasPrefix "runtime/" $path) (has (trimPrefix "runtime/" $path) $.Values.initialPolicies) }}
{{- $problems = append $problems (printf "initialConfig %q is also in initialPolicies: name it in one of them" $path) }}
{{- end }}
{{- end }}
{{- if and .Values.cni.enabled .Values.cni.uninstall }}
{{- $problems = append $problems "cni.uninstall needs cni.enabled=false" }}
{{- end }}
{{- if and .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled }}
{{- $problems = append $problems "prometheus.podMonitor and prometheus.serviceMonitor name the same targets, which would be scraped twice: enable one of them" }}
{{- end }}
{{- if eq (int .Values.prometheus.port) (int .Values.probes.port) }}
{{- $problems = append $problems (printf "prometheus.port and probes.port are both %v: a process cannot listen twice" .Values.probes.port) }}
{{- end }}
{{- range $part := list "nats" "redis" }}
{{- $values := index $.Values $part }}
{{- if and $values.url (eq $values.mode "included") }}
{{- $problems = append $problems (printf "%s.url has no effect with %s.mode=included: set %s.mode=external" $part $part $part) }}
{{- end }}
{{- end }}
{{- if and .Values.siem.outputs.syslog (not .Values.siem.outputs.syslog.address) }}
{{- $problems = append $problems "siem.outputs.syslog has no address, so nothing is sent: set host:port" }}
{{- end }}
{{- if and (not .Values.siemRelay.enabled) (or .Values.siem.outputs.syslog .Values.siem.outputs.otlp .Values.siem.outputs.alertmanager .Values.siem.outputs.openreports .Values.siem.outputs.webhooks) }}
{{- $problems = append $problems "siem.outputs has no effect with siemRelay.enabled=false" }}
{{- end }}
{{- $problems | toJson }}
{{- end }}
