import { stat } from 'node:fs/promises'
import { BootstrapParams, LogLevel } from '@flotilla/api/containerd/runtime/bootstrap/v1/bootstrap'
import { DeleteResponse } from '@flotilla/api/containerd/task/v3/task'
import { RuntimeInfo } from '@flotilla/api/containerd/types/types'
import { Any } from '@flotilla/api/google/protobuf/any'
import { RpcError, status, unimplemented } from '@flotilla/rpc'
import { type Bootstrap, parseStartOutput } from './bootstrap.ts'
import type { Bundle } from './bundle.ts'
import type { NodeTasksDeps } from './deps.ts'
import { type CommandResult, runShimCommand } from './shim-command.ts'

/** Milliseconds that a shim's `start`, `delete` or `-info` may take. */
const commandTimeout = 30_000

/** What `start` reads from its standard input: options alone, or bootstrap parameters that hold them. */
type Dialect = 'options' | 'bootstrap'

/** First version whose `start` insists on bootstrap parameters. */
const bootstrapSince = [2, 3] as const

/** What the shim binaries of this node can be told to do. */
export class ShimBinaries {
  readonly #deps: NodeTasksDeps
  readonly #env: NodeJS.ProcessEnv
  /** By path, size and modification time, so that an upgraded binary is asked again. */
  readonly #dialects = new Map<string, Dialect>()

  constructor(deps: NodeTasksDeps, env: NodeJS.ProcessEnv) {
    this.#deps = deps
    this.#env = env
  }

  /** Starts the shim of a bundle, or finds the one that serves the bundle's pod. */
  async start(binary: string, bundle: Bundle, options: Any | undefined, signal?: AbortSignal): Promise<Bootstrap> {
    const key = await this.#identity(binary)
    let dialect = this.#dialects.get(key) ?? (await this.#dialectOf(binary, signal))
    let result = await this.#start(binary, bundle, options, dialect, signal)
    if (result.code !== 0 && dialect === 'options' && result.stderr.includes('deprecated API')) {
      // Built against the newer API, whatever its version says.
      dialect = 'bootstrap'
      result = await this.#start(binary, bundle, options, dialect, signal)
    }
    if (result.code !== 0) throw failed('start', result)
    this.#dialects.set(key, dialect)
    return parseStartOutput(result.stdout)
  }

  /** Has the binary remove what a dead shim left: the container, its mounts. Answers how the container ended. */
  async delete(binary: string, bundle: Bundle): Promise<DeleteResponse> {
    const result = await runShimCommand({
      binary,
      args: [...this.#args(bundle), '-bundle', bundle.path, ...this.#debug(), 'delete'],
      cwd: bundle.path,
      env: this.#environment(bundle),
      timeout: commandTimeout,
    })
    if (result.code !== 0) throw failed('delete', result)
    return DeleteResponse.decode(result.stdout)
  }

  /** What a shim says about itself. UNIMPLEMENTED for shims of containerd 1.x, which cannot. */
  async info(binary: string, options: Any | undefined, signal?: AbortSignal): Promise<RuntimeInfo> {
    const stdin = options && Any.encode(options).finish()
    const env = this.#env
    const result = await runShimCommand({ binary, args: ['-info'], env, stdin, timeout: commandTimeout, signal })
    if (result.code === 0) return RuntimeInfo.decode(result.stdout)
    if (result.stderr.includes('flag provided but not defined')) throw unimplemented(`${binary} -info`)
    throw failed('-info', result)
  }

  #start(binary: string, bundle: Bundle, options: Any | undefined, dialect: Dialect, signal?: AbortSignal) {
    return runShimCommand({
      binary,
      args: [...this.#args(bundle), ...this.#debug(), 'start'],
      cwd: bundle.path,
      env: this.#environment(bundle),
      stdin: dialect === 'bootstrap' ? this.#parameters(bundle, options) : options && Any.encode(options).finish(),
      timeout: commandTimeout,
      signal,
    })
  }

  #args(bundle: Bundle): string[] {
    const { grpcAddress, publishBinary } = this.#deps
    return ['-namespace', bundle.namespace, '-address', grpcAddress, '-publish-binary', publishBinary, '-id', bundle.id]
  }

  #debug(): string[] {
    return this.#deps.debug ? ['-debug'] : []
  }

  #environment(bundle: Bundle): NodeJS.ProcessEnv {
    return {
      ...this.#env,
      GOMAXPROCS: '2',
      MAX_SHIM_VERSION: '2',
      TTRPC_ADDRESS: this.#deps.ttrpcAddress,
      GRPC_ADDRESS: this.#deps.grpcAddress,
      NAMESPACE: bundle.namespace,
    }
  }

  #parameters(bundle: Bundle, options: Any | undefined): Uint8Array {
    const { debug, grpcAddress, publishBinary, shimSocketDir, ttrpcAddress } = this.#deps
    const params = BootstrapParams.fromPartial({
      instanceId: bundle.id,
      namespace: bundle.namespace,
      logLevel: debug ? LogLevel.LOG_LEVEL_DEBUG : LogLevel.LOG_LEVEL_INFO,
      containerdTtrpcAddress: ttrpcAddress,
      containerdGrpcAddress: grpcAddress,
      containerdBinary: publishBinary,
      extensions: options ? [{ value: options }] : [],
      socketDir: shimSocketDir,
    })
    return BootstrapParams.encode(params).finish()
  }

  async #identity(binary: string): Promise<string> {
    const { mtimeMs, size } = await stat(binary)
    return `${binary} ${size} ${mtimeMs}`
  }

  async #dialectOf(binary: string, signal?: AbortSignal): Promise<Dialect> {
    const { stdout } = await runShimCommand({ binary, args: ['-v'], env: this.#env, timeout: commandTimeout, signal })
    const [, major = '0', minor = '0'] = /Version:\s*v?(\d+)\.(\d+)/.exec(stdout.toString()) ?? []
    const [sinceMajor, sinceMinor] = bootstrapSince
    const newer = Number(major) > sinceMajor || (Number(major) === sinceMajor && Number(minor) >= sinceMinor)
    return newer ? 'bootstrap' : 'options'
  }
}

function failed(action: string, { code, stderr, stdout }: CommandResult): RpcError {
  const said = stderr.trim() || stdout.toString().trim()
  return new RpcError(status.UNKNOWN, `${said === '' ? '' : `${said}: `}shim ${action}: exit status ${code}`)
}
