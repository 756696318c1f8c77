import {
  type HealthCheckResponse,
  type HealthDefinition,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '@flotilla/api/grpc/health/v1/health'
import { type Call, RpcError, type ServiceOf, status } from '@flotilla/rpc'

export { ServingStatus }

export interface HealthService extends ServiceOf<HealthDefinition> {
  /** Sets the state of one service; the empty name is the whole server. Watchers are told. */
  set(service: string, status: ServingStatus): void
  /** Everything known becomes NOT_SERVING: for the time between being told to stop and stopping. */
  stopServing(): void
}

/** The standard health service. The server as a whole is SERVING from the start; other names are unknown until set. */
export function createHealthService(): HealthService {
  const states = new Map<string, ServingStatus>([['', ServingStatus.SERVING]])
  let changed = Promise.withResolvers<void>()

  const set = (service: string, state: ServingStatus) => {
    if (states.get(service) === state) return
    states.set(service, state)
    changed.resolve()
    changed = Promise.withResolvers()
  }

  async function* watch({ service }: { service: string }, { signal }: Call): AsyncGenerator<HealthCheckResponse> {
    const left = Promise.withResolvers<void>()
    const onAbort = () => left.resolve()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      let told: ServingStatus | undefined
      while (!signal.aborted) {
        // Taken before the state is read, so that no change falls between the two.
        const next = changed.promise
        const state = states.get(service) ?? ServingStatus.SERVICE_UNKNOWN
        if (state !== told) yield { status: state }
        told = state
        await Promise.race([next, left.promise])
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  return {
    async check({ service }) {
      const state = states.get(service)
      // Exactly the text of Go's health server, without the usual suffix.
      if (state === undefined) throw new RpcError(status.NOT_FOUND, 'unknown service')
      return { status: state }
    },
    watch,
    set,
    stopServing() {
      for (const service of states.keys()) set(service, ServingStatus.NOT_SERVING)
    },
  }
}
