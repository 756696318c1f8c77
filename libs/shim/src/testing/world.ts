import { execFile } from 'node:child_process'
import { copyFile, mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { CreateTaskRequest } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { Any } from '@flotilla/api/google/protobuf/any'
import { createLogger } from '@flotilla/log'
import { type CallOptions, makeCall } from '@flotilla/rpc'
import { leftBehind, nothing, systemSnapshot, type TempWorld, tempWorld, until } from '@flotilla/testing'
import type { NodeTasksDeps } from '../deps.ts'
import { createNodeTasks, type NodeTasks } from '../node-tasks.ts'
import { RecordingEvents } from './recording-events.ts'

const run = promisify(execFile)

export const namespace = 'tests'

export interface TaskOptions {
  readonly args?: readonly string[]
  readonly env?: readonly string[]
  readonly terminal?: boolean
  readonly stdin?: string
  readonly stdout?: string
  readonly stderr?: string
  readonly annotations?: Record<string, string>
  readonly options?: Any
  readonly memory?: number
  readonly runtime?: string
}

/** The tasks of an agent, in this process or another. */
type RemoteTasks = Omit<NodeTasks, typeof Symbol.asyncDispose | 'sandboxes'>

/** A node with its directories, a busybox root and its events, and what a test asks of it again and again. */
export class TestWorld implements AsyncDisposable {
  readonly temp: TempWorld
  readonly events = new RecordingEvents()
  readonly deps: NodeTasksDeps
  readonly shim: string
  #tasks: NodeTasks | undefined
  /** The tasks of an agent in another process, instead of our own. */
  #remote: RemoteTasks | undefined
  #hangUp = () => {}

  private constructor(temp: TempWorld, shim: string) {
    this.temp = temp
    this.shim = shim
    this.deps = {
      root: temp.join('root'),
      state: temp.join('state'),
      grpcAddress: temp.join('c.sock'),
      ttrpcAddress: temp.join('c.sock.ttrpc'),
      publishBinary: '/bin/false',
      events: this.events,
      nodeName: 'node1',
      logger: createLogger({ level: process.env.FLOTILLA_TEST_LOG ?? 'fatal', name: 'node-tasks' }),
    }
  }

  static async start(shim: string): Promise<TestWorld> {
    const temp = await tempWorld({ name: 'shim' })
    await mkdir(temp.join('lower/bin'), { recursive: true })
    for (const folder of ['proc', 'dev', 'sys', 'tmp']) await mkdir(temp.join('lower', folder))
    await copyFile('/bin/busybox', temp.join('lower/bin/busybox'))
    await run('/bin/busybox', ['--install', '-s', temp.join('lower/bin')]).catch(() => {})
    await run('sh', ['-c', `cd ${temp.join('lower/bin')} && for a in $(./busybox --list); do ln -sf busybox $a; done`])
    const world = new TestWorld(temp, shim)
    await world.boot()
    return world
  }

  get tasks(): RemoteTasks {
    const tasks = this.#remote ?? this.#tasks
    if (!tasks) throw new Error('the node is down')
    return tasks
  }

  get sandboxes(): NodeTasks['sandboxes'] {
    if (!this.#tasks) throw new Error('the node is down')
    return this.#tasks.sandboxes
  }

  /** Speaks to an agent in another process from now on, or to none. */
  use(remote: RemoteTasks | undefined, hangUp = () => {}): void {
    this.#hangUp()
    this.#hangUp = hangUp
    this.#remote = remote
  }

  /** Starts the node's tasks, on what an earlier run left. */
  async boot(): Promise<void> {
    this.#tasks = await createNodeTasks(this.deps)
  }

  /** Ends the node's tasks as a service manager would: containers go on. */
  async halt(): Promise<void> {
    await this.#tasks?.[Symbol.asyncDispose]()
    this.#tasks = undefined
  }

  async restart(): Promise<void> {
    await this.halt()
    await this.boot()
  }

  call(options: CallOptions = {}) {
    return makeCall({ namespace, timeout: 60_000, ...options })
  }

  bundle(id: string): string {
    return join(this.deps.state, 'io.containerd.runtime.v2.task', namespace, id)
  }

  /** The mounts of a container's root: an overlay of its own over the busybox root. */
  async rootfs(id: string) {
    const upper = this.temp.join('layers', id, 'upper')
    const work = this.temp.join('layers', id, 'work')
    await mkdir(upper, { recursive: true })
    await mkdir(work, { recursive: true })
    const options = [`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${this.temp.join('lower')}`]
    return [{ type: 'overlay', source: 'overlay', target: '', options }]
  }

  container(id: string, options: TaskOptions = {}): Container {
    const spec = Any.fromPartial({
      typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
      value: Buffer.from(JSON.stringify(this.spec(id, options))),
    })
    return Container.fromPartial({ id, spec, runtime: { name: options.runtime ?? this.shim } })
  }

  process({ args = ['sleep', '1000'], env = [], terminal = false }: TaskOptions) {
    const capabilities = ['CAP_KILL', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE']
    return {
      args,
      cwd: '/',
      terminal,
      env: ['PATH=/bin', ...env],
      user: { uid: 0, gid: 0 },
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    }
  }

  processAny(options: TaskOptions): Any {
    const typeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/Process'
    return Any.fromPartial({ typeUrl, value: Buffer.from(JSON.stringify(this.process(options))) })
  }

  spec(id: string, options: TaskOptions): object {
    const proc = { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] }
    const dev = { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] }
    const pts = { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'newinstance'] }
    return {
      ociVersion: '1.0.2',
      process: this.process(options),
      root: { path: 'rootfs' },
      hostname: 'test',
      mounts: [proc, dev, pts],
      annotations: options.annotations ?? {},
      linux: {
        cgroupsPath: `/flotilla-shim-tests/${basename(this.temp.path)}-${id}`,
        namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
        resources: {
          devices: [{ allow: true, access: 'rwm' }],
          ...(options.memory === undefined ? {} : { memory: { limit: options.memory } }),
        },
      },
    }
  }

  async create(id: string, options: TaskOptions = {}, call = this.call(), checkpointPath = ''): Promise<number> {
    const container = this.container(id, options)
    const { options: taskOptions, stdin = '', stdout = '', terminal = false } = options
    const stderr = options.stderr ?? (terminal ? '' : stdout)
    const request = CreateTaskRequest.fromPartial({
      containerId: id,
      rootfs: await this.rootfs(id),
      stdin,
      stdout,
      stderr,
      terminal,
      options: taskOptions,
    })
    const answer = await this.tasks.create({ request, container, checkpointPath }, call)
    return answer.pid
  }

  async start(id: string, execId = ''): Promise<number> {
    return (await this.tasks.start({ containerId: id, execId }, this.call())).pid
  }

  /** Creates and starts. */
  async run(id: string, options: TaskOptions = {}): Promise<number> {
    await this.create(id, options)
    return await this.start(id)
  }

  /**
   * Its standard error is lost unless given. One FIFO for both would hang now and then: a shim opens an exec's
   * FIFOs one after the other once it runs, and when it has ended by then, the reader left with the end of the first.
   */
  async exec(id: string, execId: string, options: TaskOptions = {}): Promise<void> {
    const { stdin = '', stdout = '', terminal = false } = options
    const stderr = options.stderr ?? (terminal || stdout === '' ? '' : '/dev/null')
    const spec = this.processAny(options)
    await this.tasks.exec({ containerId: id, execId, stdin, stdout, stderr, terminal, spec }, this.call())
  }

  async kill(id: string, signal = 9, execId = ''): Promise<void> {
    await this.tasks.kill({ containerId: id, execId, signal, all: false }, this.call())
  }

  async state(id: string, execId = '') {
    const { process } = await this.tasks.get({ containerId: id, execId }, this.call())
    if (!process) throw new Error(`no state of ${id}`)
    return process
  }

  /** Waits until a process has ended. */
  async wait(id: string, execId = '') {
    for (;;) {
      const answer = await this.tasks.wait({ containerId: id, execId, timeoutMs: 20_000 }, this.call())
      if (answer.exited) return answer
    }
  }

  async delete(id: string) {
    return await this.tasks.delete({ containerId: id }, this.call())
  }

  /** Kills, waits and deletes. */
  async remove(id: string) {
    await this.kill(id).catch(() => {})
    await this.wait(id)
    return await this.delete(id)
  }

  /** Waits until an event of this topic came for a task. */
  async event(id: string, topic: string) {
    return await until(`${topic} of ${id}`, () => this.events.of(id).find((event) => event.topic === topic), {
      timeout: 20_000,
    }).catch((error: unknown) => {
      throw new Error(`saw ${this.events.topics(id).join(' ') || 'nothing'}`, { cause: error })
    })
  }

  /** A FIFO and everything that is written to it until its writers leave. */
  async fifo(name: string): Promise<{ path: string; text: Promise<string> }> {
    const path = this.temp.join(name)
    await run('mkfifo', [path])
    // By a program: opening waits for the writer, and here that would be in one of the few threads that the agent in this
    // process needs in order to make one.
    const text = run('cat', [path]).then(({ stdout }) => stdout)
    return { path, text }
  }

  async file(name: string): Promise<string> {
    return await readFile(this.temp.join(name), 'utf8')
  }

  /** What there is on the machine that mentions this world. */
  async left() {
    return leftBehind(nothing, await systemSnapshot({ mentions: [basename(this.temp.path)] }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.use(undefined)
    if (!this.#tasks) await this.boot()
    const { tasks } = await this.tasks.list({ filter: '' }, this.call())
    for (const { id } of tasks) {
      await this.tasks.resume({ containerId: id }, this.call()).catch(() => {})
      await this.remove(id)
        .catch(() => this.delete(id))
        .catch(() => {})
    }
    await this.halt()
    for (const hierarchy of await readdir('/sys/fs/cgroup')) {
      await rmdir(join('/sys/fs/cgroup', hierarchy, 'flotilla-shim-tests')).catch(() => {})
    }
    await rm(this.temp.join('layers'), { recursive: true, force: true })
    await this.temp[Symbol.asyncDispose]()
  }
}
