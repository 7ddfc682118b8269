{{/* Name, namespace, labels and annotations of an object. Names are fixed: one Bailiff a cluster. */}}
{{- define "bailiff.metadata" -}}
name: {{ .name }}
{{- if eq .scope "namespaced" }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "bailiff.labels" . | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The labels that Kubernetes recommends. commonLabels cannot replace one. Pods have neither the version
nor the tool: a new chart would restart the bus without cause.
*/}}
{{- define "bailiff.labels" -}}
{{- $release := dict "app.kubernetes.io/managed-by" .root.Release.Service "app.kubernetes.io/version" .root.Chart.AppVersion }}
{{- merge (include "bailiff.podLabels" . | fromYaml) $release | toYaml }}
{{- end }}

{{- define "bailiff.podLabels" -}}
{{- $labels := dict "app.kubernetes.io/name" "bailiff" "app.kubernetes.io/part-of" "bailiff" "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/component" .component }}
{{- merge $labels (.labels | default dict) (.root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/*
Metadata of a pod template. Pods read addresses and the servers' configuration once, so a change of
either restarts them.
*/}}
{{- define "bailiff.podMetadata" -}}
labels:
  {{- include "bailiff.podLabels" (merge (dict "labels" .app.podLabels) .) | nindent 2 }}
{{- $annotations := .app.podAnnotations | default dict }}
{{- if and .root.Values.addresses.create (not (has .component (list "nats" "valkey"))) }}
{{- $annotations = merge (dict "checksum/addresses" (include "bailiff.addresses" .root | sha256sum | trunc 16)) $annotations }}
{{- end }}
{{- if and .root.Values.configSigners (has .component (list "collector" "correlator" "responder" "ipam-sync")) }}
{{- $annotations = merge (dict "checksum/config-signers" (.root.Values.configSigners | sha256sum | trunc 16)) $annotations }}
{{- end }}
{{- if and (eq .component "nats") (eq .root.Values.credentials.strategy "hook") }}
{{- $annotations = merge (dict "checksum/conf" (concat (list .root.Values.nats.replicas .root.Values.nats.storage.maxFileStore) (ternary (list "console") (list) .root.Values.console.enabled) (ternary (list "evidence-log") (list) .root.Values.evidenceLog.enabled) | toJson | sha256sum | trunc 16)) $annotations }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "bailiff.signersEnv" -}}
{{- if .root.Values.configSigners }}
- name: BAILIFF_{{ .app }}_CONFIG_SIGNERS
  value: /etc/bailiff/bus/signers
{{- end }}
{{- end }}

{{- define "bailiff.signersSource" -}}
{{- if .Values.configSigners }}
- configMap:
    name: bailiff-config-signers
{{- end }}
{{- end }}

{{- define "bailiff.image" -}}
{{- with .image.registry | default .root.Values.global.imageRegistry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "bailiff.scheduling" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .app.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .app.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .app.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .app.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "bailiff.container" -}}
{{- with .root.Values.imagePullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- with .app.extraArgs }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The CA of the bus: one key of a Secret. cert-manager writes it beside the servers' key. */}}
{{- define "bailiff.busCa" -}}
{{- if eq .Values.certificates.strategy "certManager" -}}
name: bailiff-nats-tls
items:
  - key: ca.crt
    path: ca.crt
{{- else -}}
name: bailiff-bus-ca
{{- end }}
{{- end }}

{{/* Addresses that the pods read. Replicas of streams: as many as servers, at most 3. */}}
{{- define "bailiff.addresses" -}}
{{- if eq .Values.nats.mode "included" }}
natsUrl: {{ printf "tls://bailiff-nats.%s.svc:4222" .Release.Namespace | quote }}
natsReplicas: {{ min 3 (int .Values.nats.replicas) | quote }}
{{- else }}
natsUrl: {{ required "nats.url is required with nats.mode=external" .Values.nats.url | quote }}
natsReplicas: {{ min 3 (int .Values.nats.replicas) | quote }}
{{- end }}
{{- if eq .Values.redis.mode "included" }}
redisUrl: {{ printf "redis://bailiff-valkey.%s.svc:6379" .Release.Namespace | quote }}
{{- else if .Values.responder.enabled }}
redisUrl: {{ required "redis.url is required with redis.mode=external" .Values.redis.url | quote }}
{{- end }}
{{- end }}

{{/*
A Job cannot be changed, so its name contains what it does: Helm creates another one for another
image, retention or number of replicas. With a time to live it deletes itself, and has a plain name.
*/}}
{{- define "bailiff.busSetupName" -}}
bailiff-bus-setup
{{- if not .Values.busSetup.ttlSecondsAfterFinished -}}
-{{ list (include "bailiff.addresses" .) .Values.bus .Values.busSetup .Values.global .Values.certificates .Values.imagePullPolicy .Values.imagePullSecrets .Values.commonLabels .Values.initialMode (include "bailiff.initialConfig" .) .Chart.Version | toJson | sha256sum | trunc 8 }}
{{- end }}
{{- end }}

{{/* Ports of servers by the addresses, separated by commas, in `urls`; `default` where one names none. */}}
{{- define "bailiff.urlPorts" -}}
{{- $default := .default }}
{{- $ports := list }}
{{- range splitList "," .urls }}
{{- $server := regexReplaceAll "[/?#].*$" (regexReplaceAll "^[a-z]+://" (trim .) "") "" }}
{{- $ports = append $ports (regexFind ":[0-9]+$" $server | trimPrefix ":" | default $default | int) }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{- define "bailiff.natsPorts" -}}
{{- include "bailiff.urlPorts" (dict "urls" (get (include "bailiff.addresses" . | fromYaml) "natsUrl") "default" 4222) }}
{{- end }}

{{- define "bailiff.redisPorts" -}}
{{- include "bailiff.urlPorts" (dict "urls" (get (include "bailiff.addresses" . | fromYaml) "redisUrl") "default" 6379) }}
{{- end }}
