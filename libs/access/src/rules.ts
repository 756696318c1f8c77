import type { Verb } from './grant.ts'

/**
 * What a call needs.
 * - a verb alone: that verb in the namespace of the call
 * - `VERB somewhere`: the verb in any namespace, for what is about no namespace
 * - `VERB cluster`: the verb in `*`, for what concerns all of the cluster
 * - `VERB named`: the verb in the namespace that the request names
 * - `anyone`: a certificate
 * - `node`: a node's certificate
 */
export type Rule = Verb | `${Verb} ${'somewhere' | 'cluster' | 'named'}` | 'anyone' | 'node'

/** Methods of one service, by what they need. */
function methods(needs: Partial<Record<Rule, string>>): Readonly<Record<string, Rule>> {
  const rules: Record<string, Rule> = {}
  for (const [rule, names] of Object.entries(needs)) for (const name of names.split(' ')) rules[name] = rule as Rule
  return rules
}

/**
 * Every method of every service that a process may serve, by the service's full name. A method that is not here is
 * refused. `exec` is what makes a node run something or reads and writes by paths of the node, and so is as good as
 * root there.
 */
export const rules: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  'containerd.services.containers.v1.Containers': methods({
    read: 'Get List ListStream',
    write: 'Create Update Delete',
  }),
  'containerd.services.content.v1.Content': methods({
    read: 'Info List Read Status ListStatuses',
    write: 'Update Delete Write Abort',
  }),
  // Mounts are the request's own.
  'containerd.services.diff.v1.Diff': methods({ exec: 'Apply Diff' }),
  'containerd.services.events.v1.Events': methods({
    write: 'Publish',
    'admin named': 'Forward',
    'read somewhere': 'Subscribe',
  }),
  'containerd.services.images.v1.Images': methods({ read: 'Get List', write: 'Create Update Delete' }),
  'containerd.services.introspection.v1.Introspection': methods({ 'read somewhere': 'Plugins Server PluginInfo' }),
  'containerd.services.leases.v1.Leases': methods({
    read: 'List ListResources',
    write: 'Create Delete AddResource DeleteResource',
  }),
  'containerd.services.mounts.v1.Mounts': methods({ read: 'Info List', exec: 'Activate Deactivate Update' }),
  'containerd.services.namespaces.v1.Namespaces': methods({
    'read named': 'Get',
    'read somewhere': 'List',
    'admin named': 'Create Update Delete',
  }),
  'containerd.services.sandbox.v1.Controller': methods({
    read: 'Platform Wait Status Metrics',
    exec: 'Create Start Stop Shutdown Update',
  }),
  'containerd.services.sandbox.v1.Store': methods({ read: 'List Get', write: 'Create Update Delete' }),
  'containerd.services.snapshots.v1.Snapshots': methods({
    read: 'Mounts Stat List Usage',
    write: 'Prepare View Commit Remove Update Cleanup',
  }),
  'containerd.services.streaming.v1.Streaming': methods({ write: 'Stream' }),
  'containerd.services.tasks.v1.Tasks': methods({
    read: 'Get List ListPids Metrics Wait',
    exec: 'Create Start Delete DeleteProcess Kill Exec ResizePty CloseIO Pause Resume Checkpoint Update',
  }),
  'containerd.services.transfer.v1.Transfer': methods({ write: 'Transfer' }),
  'containerd.services.version.v1.Version': methods({ anyone: 'Version' }),
  'flotilla.cluster.v1.Nodes': methods({
    'read somewhere': 'List Get Watch',
    'admin cluster': 'Cordon Uncordon Drain Remove',
  }),
  'flotilla.cluster.v1.NodePrepull': methods({ node: 'Pull Progress' }),
  'flotilla.cluster.v1.Prepull': methods({ write: 'Pull' }),
  'flotilla.content.v1.LocalBlobs': methods({ node: 'Locate LocateIngest Sweep Writing Bring' }),
  'flotilla.diff.v1.Layers': methods({ node: 'Unpack AdoptParents' }),
  'flotilla.events.v1.Log': methods({ 'read somewhere': 'Read Status' }),
  'flotilla.gc.v1.Collector': methods({ node: 'Collect' }),
  'flotilla.node.v1.Drivers': methods({ node: 'List Create Mounts Usage Commit Relabel Remove Ids' }),
  'flotilla.node.v1.NodeTasks': methods({
    node: 'Create Start Delete DeleteProcess Get List Kill Exec ResizePty CloseIO Pause Resume ListPids Checkpoint Update Metrics Wait RuntimeInfo',
  }),
  'flotilla.node.v1.NodeSandboxes': methods({
    node: 'Create Start Platform Stop Wait Status Shutdown Metrics',
  }),
  'flotilla.peer.v1.Blobs': methods({ node: 'Stat Read' }),
  'flotilla.peer.v1.Streams': methods({ node: 'Connect Prepare' }),
  'flotilla.stdio.v1.Logs': methods({ read: 'Read', exec: 'Prepare' }),
  'flotilla.stdio.v1.NodeLogs': methods({ node: 'Prepare Read' }),
  // FIFOs are of no namespace; who may run nothing has no use for them.
  'flotilla.stdio.v1.Stdio': methods({ 'exec somewhere': 'Open' }),
  'grpc.health.v1.Health': methods({ anyone: 'Check Watch' }),
  'grpc.reflection.v1.ServerReflection': methods({ anyone: 'ServerReflectionInfo' }),
  'grpc.reflection.v1alpha.ServerReflection': methods({ anyone: 'ServerReflectionInfo' }),
}

/** What a method needs; undefined for one that the table does not know. */
export function ruleOf(service: string, method: string): Rule | undefined {
  const ofService = Object.hasOwn(rules, service) ? rules[service] : undefined
  return ofService && Object.hasOwn(ofService, method) ? ofService[method] : undefined
}
