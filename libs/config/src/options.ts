/** What an option holds, as written in the TOML file. */
export type OptionKind = 'string' | 'integer' | 'number' | 'boolean'

export interface Option {
  /** Dotted path in the file: `redis.url`. */
  readonly path: string
  readonly kind: OptionKind
  readonly value: string | number | boolean
  /** Words that are allowed, for options that choose. */
  readonly oneOf?: readonly string[]
  readonly text: string
  /** Where containerd's own file has the same, as paths of tables and key. */
  readonly containerd?: readonly (readonly string[])[]
  /** Milliseconds, which may also be written as a duration: `"10s"`. */
  readonly isDuration?: true
  /** Names with commas, which may also be written as a list. */
  readonly isList?: true
}

const plugin = (id: string, ...key: string[]) => ['plugins', `io.containerd.${id}`, ...key]

/** Every option of every process, in the order in which they are printed. */
export const options = [
  {
    path: 'root',
    kind: 'string',
    value: '/var/lib/flotilla',
    text: 'Directory for what must survive a reboot: blobs, snapshots, the embedded stores.',
  },
  {
    path: 'state',
    kind: 'string',
    value: '/run/flotilla',
    text: 'Directory for what lives as long as the machine is up: bundles, sockets.',
  },
  {
    path: 'address',
    kind: 'string',
    value: '/run/flotilla/containerd.sock',
    text: 'Path of the node socket.',
    containerd: [['grpc', 'address']],
  },
  {
    path: 'node_name',
    kind: 'string',
    value: '',
    text: 'Unique name of this machine in the cluster; its host name when empty.',
  },
  {
    path: 'oom_score',
    kind: 'integer',
    value: 0,
    text: 'What the kernel adds to the score by which it chooses what to kill when memory is short, -1000 (never this) to 1000, for this process and its stores. 0: as it was started.',
  },
  {
    path: 'cgroup.path',
    kind: 'string',
    value: '',
    text: 'Control group that this process and its stores move to, made where it is not there. Empty: the one they were started in.',
  },
  {
    path: 'grpc.uid',
    kind: 'integer',
    value: 0,
    text: 'Owner of the node socket, which owner and group may use.',
  },
  { path: 'grpc.gid', kind: 'integer', value: 0, text: 'Group of the node socket.' },
  {
    path: 'redis.url',
    kind: 'string',
    value: '',
    text: 'Metadata store: redis://, rediss://, unix:///path, redis+sentinel://HOST:PORT,HOST:PORT/NAME or redis+cluster://HOST:PORT,HOST:PORT. Empty: start a redis-server of our own.',
  },
  {
    path: 'redis.replicas',
    kind: 'integer',
    value: 0,
    text: 'Replicas of the metadata store that must have a change before it is acknowledged.',
  },
  {
    path: 'redis.ca',
    kind: 'string',
    value: '',
    text: 'File with the authority of the metadata store, for rediss://; the well-known ones when empty.',
  },
  {
    path: 'redis.cert',
    kind: 'string',
    value: '',
    text: 'File with the certificate shown to the metadata store, when it asks for one.',
  },
  {
    path: 'redis.key',
    kind: 'string',
    value: '',
    text: 'File with the key of redis.cert.',
  },
  {
    path: 'nats.url',
    kind: 'string',
    value: '',
    text: 'Message bus: nats://[user:password@]host:port or tls://…, several with commas. Empty: start our own.',
  },
  {
    path: 'nats.replicas',
    kind: 'integer',
    value: 1,
    text: 'Servers of a NATS cluster that keep the stream of events: 1, 3 or 5.',
  },
  {
    path: 'nats.ca',
    kind: 'string',
    value: '',
    text: 'File with the authority of the message bus; with it, or tls://, the connection is encrypted.',
  },
  {
    path: 'nats.cert',
    kind: 'string',
    value: '',
    text: 'File with the certificate shown to the message bus, when it asks for one.',
  },
  {
    path: 'nats.key',
    kind: 'string',
    value: '',
    text: 'File with the key of nats.cert.',
  },
  {
    path: 'nats.credentials',
    kind: 'string',
    value: '',
    text: 'File with a user JWT and its nkey, as `nsc` makes them, or with an nkey seed alone.',
  },
  {
    path: 'cluster.endpoint',
    kind: 'string',
    value: '',
    text: 'host:port at which this node serves the whole API with mutual TLS. Empty: none.',
  },
  {
    path: 'cluster.ca',
    kind: 'string',
    value: '',
    text: 'File with the authority that made the certificates of nodes and clients.',
  },
  {
    path: 'cluster.cert',
    kind: 'string',
    value: '',
    text: 'File with the certificate of this node. With ca and key set, every TCP address of ours speaks mutual TLS.',
  },
  {
    path: 'cluster.key',
    kind: 'string',
    value: '',
    text: 'File with the key of cluster.cert.',
  },
  {
    path: 'cluster.revoked',
    kind: 'string',
    value: '',
    text: 'File with serial numbers of certificates that no longer count, one a line; read again when it changes.',
  },
  {
    path: 'cluster.advertise',
    kind: 'string',
    value: '',
    text: 'host:port at which other nodes reach this one; we listen there. Empty: a machine alone.',
  },
  {
    path: 'cluster.labels',
    kind: 'string',
    value: '',
    text: 'Labels of this node for schedulers and operators: key=value, several separated by commas.',
  },
  {
    path: 'cluster.copies',
    kind: 'integer',
    value: 1,
    text: 'Nodes that are to have each blob that was pushed or imported.',
  },
  {
    path: 'cluster.prune_after_hours',
    kind: 'integer',
    value: 0,
    text: 'Hours after which a node removes its copy of a blob that cluster.copies others have. 0: never.',
  },
  {
    path: 'log.level',
    kind: 'string',
    value: 'info',
    oneOf: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'panic'],
    text: 'Least important level that is logged; debug adds a line for each request.',
    containerd: [['debug', 'level']],
  },
  {
    path: 'metrics.address',
    kind: 'string',
    value: '',
    text: 'host:port of the Prometheus endpoint /metrics. Empty: none.',
  },
  {
    path: 'content.sharing_policy',
    kind: 'string',
    value: 'shared',
    oneOf: ['shared', 'isolated'],
    text: 'Whether a namespace may adopt a blob that another one has without sending its bytes.',
    containerd: [plugin('metadata.v1.bolt', 'content_sharing_policy')],
  },
  { path: 'diff.workers', kind: 'integer', value: 2, text: 'Threads that apply and compare layers.' },
  {
    path: 'diff.order',
    kind: 'string',
    value: 'walking',
    text: 'Differs in the order in which they are asked, with commas: `walking` is ours, others are in proxy_plugins.',
    containerd: [plugin('service.v1.diff-service', 'default')],
    isList: true,
  },
  {
    path: 'diff.sync_fs',
    kind: 'boolean',
    value: false,
    text: 'Whether every applied layer is synced to disk before the answer.',
    containerd: [plugin('service.v1.diff-service', 'sync_fs')],
  },
  {
    path: 'registry.config_path',
    kind: 'string',
    value: '/etc/containerd/certs.d:/etc/docker/certs.d',
    text: 'Directories that say how to reach registries (HOST/hosts.toml), separated by colons; the first that has one counts.',
    containerd: [plugin('transfer.v1.local', 'config_path')],
  },
  {
    path: 'registry.docker_config',
    kind: 'string',
    value: '',
    text: "Docker's config.json with credentials for registries that clients give none for. Empty: none.",
  },
  {
    path: 'registry.max_concurrent_downloads',
    kind: 'integer',
    value: 6,
    text: 'Downloads of blobs from registries at a time, over all pulls of this node.',
    containerd: [plugin('transfer.v1.local', 'max_concurrent_downloads')],
  },
  { path: 'events.retention_hours', kind: 'number', value: 24, text: 'How long events can be replayed, hours.' },
  {
    path: 'events.retention_count',
    kind: 'integer',
    value: 1_000_000,
    text: 'How many events are kept for replay at most.',
  },
  {
    path: 'blockfile.scratch_file',
    kind: 'string',
    value: '',
    text: 'File with an empty ext4 (mkfs.ext4 FILE) that snapshots of snapshotter blockfile begin as copies of. Empty: none.',
    containerd: [plugin('snapshotter.v1.blockfile', 'scratch_file')],
  },
  {
    path: 'devmapper.pool_name',
    kind: 'string',
    value: '',
    text: 'Thin pool of snapshotter devmapper, by its name in /dev/mapper: made by you, for this daemon alone. Empty: none.',
    containerd: [plugin('snapshotter.v1.devmapper', 'pool_name')],
  },
  {
    path: 'devmapper.root_path',
    kind: 'string',
    value: '',
    text: 'Directory in which snapshotter devmapper notes its devices. Empty: below the root, as other snapshotters.',
    containerd: [plugin('snapshotter.v1.devmapper', 'root_path')],
  },
  {
    path: 'devmapper.base_image_size',
    kind: 'string',
    value: '10GB',
    text: 'How large the file system of an image and its containers can become: a number with K, M, G or T (of 1024).',
    containerd: [plugin('snapshotter.v1.devmapper', 'base_image_size')],
  },
  {
    path: 'devmapper.fs_type',
    kind: 'string',
    value: 'ext4',
    oneOf: ['ext4', 'xfs', 'ext2'],
    text: 'File system that snapshotter devmapper makes.',
    containerd: [plugin('snapshotter.v1.devmapper', 'fs_type')],
  },
  {
    path: 'devmapper.fs_options',
    kind: 'string',
    value: '',
    text: 'Options with which mkfs makes it, in place of the usual.',
    containerd: [plugin('snapshotter.v1.devmapper', 'fs_options')],
  },
  {
    path: 'devmapper.async_remove',
    kind: 'boolean',
    value: false,
    text: 'Whether the removal of a snapshot does not wait for that of its device.',
    containerd: [plugin('snapshotter.v1.devmapper', 'async_remove')],
  },
  {
    path: 'devmapper.discard_blocks',
    kind: 'boolean',
    value: false,
    text: 'Whether what snapshots no longer need is given back to the disk below the pool: for pools in files.',
    containerd: [plugin('snapshotter.v1.devmapper', 'discard_blocks')],
  },
  {
    path: 'opt.path',
    kind: 'string',
    value: '',
    text: 'Directory into which clients install programs (`ctr install`): shims and runtimes are looked for in its bin first. Empty: `opt` below the root; containerd has /opt/containerd.',
    containerd: [plugin('internal.v1.opt', 'path')],
  },
  {
    path: 'restart.interval_ms',
    kind: 'integer',
    value: 10_000,
    text: 'Milliseconds between two looks at containers with restart labels.',
    containerd: [plugin('monitor.container.v1.restart', 'interval'), plugin('internal.v1.restart', 'interval')],
    isDuration: true,
  },
  {
    path: 'gc.startup_delay_ms',
    kind: 'integer',
    value: 100,
    text: 'Milliseconds from the start to the first garbage collection.',
    containerd: [plugin('gc.v1.scheduler', 'startup_delay')],
    isDuration: true,
  },
  {
    path: 'gc.pause_threshold',
    kind: 'number',
    value: 0.02,
    text: 'Largest share of time that garbage collection should take, 0 to 0.5.',
    containerd: [plugin('gc.v1.scheduler', 'pause_threshold')],
  },
  {
    path: 'gc.deletion_threshold',
    kind: 'integer',
    value: 0,
    text: 'Deletions that start a collection at once; 0: any deletion is enough at the next check.',
    containerd: [plugin('gc.v1.scheduler', 'deletion_threshold')],
  },
  {
    path: 'gc.mutation_threshold',
    kind: 'integer',
    value: 100,
    text: 'Writes after which the next check starts a collection.',
    containerd: [plugin('gc.v1.scheduler', 'mutation_threshold')],
  },
  {
    path: 'gc.schedule_delay_ms',
    kind: 'integer',
    value: 0,
    text: 'Milliseconds between a trigger and the collection.',
    containerd: [plugin('gc.v1.scheduler', 'schedule_delay')],
    isDuration: true,
  },
] as const satisfies readonly Option[]

/** Sections whose keys are names chosen by the operator; values are strings. */
export const openSections = {
  services: 'Address (unix:///path or host:port) of each service that runs as a process of its own: content, images, …',
} as const
