import { stat } from 'node:fs/promises'
import type { IntrospectionDefinition, Plugin } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { RuntimeRequest } from '@flotilla/api/containerd/types/types'
import type { DriversDefinition, NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { parseFilters, pluginFields } from '@flotilla/filters'
import { type Call, failedPrecondition, invalidArgument, notFound, type ServiceOf, unimplemented } from '@flotilla/rpc'
import { catalogue, type IntrospectionSettings, taskRuntime } from './catalogue.ts'
import { serverUuid } from './uuid.ts'

export interface IntrospectionDeps {
  readonly config: IntrospectionSettings
  /** The snapshot drivers of the node. */
  readonly drivers: Pick<ServiceOf<DriversDefinition>, 'list'>
  /** Asks runtimes of the node about themselves. */
  readonly tasks: Pick<ServiceOf<NodeTasksDefinition>, 'runtimeInfo'>
}

/** The daemon about itself. None of its methods needs a namespace. */
export async function createIntrospectionService(deps: IntrospectionDeps): Promise<ServiceOf<IntrospectionDefinition>> {
  const uuid = await serverUuid(deps.config.root)
  const { ino: pidns } = await stat('/proc/self/ns/pid')

  const plugins = async (call: Call): Promise<Plugin[]> => {
    const { drivers } = await deps.drivers.list({}, call)
    return catalogue(deps.config, drivers)
  }

  return {
    async plugins({ filters }, call) {
      const matcher = parseFilters(filters)
      return { plugins: (await plugins(call)).filter((plugin) => matcher.matches(pluginFields(plugin))) }
    },

    async server() {
      return { uuid, pid: process.pid, pidns, deprecations: [] }
    },

    async pluginInfo({ type, id, options }, call) {
      const plugin = (await plugins(call)).find((each) => each.type === type && each.id === id)
      if (plugin === undefined) throw notFound(`plugin ${type}.${id} not found`)
      if (options === undefined) return { plugin, extra: undefined }
      if (plugin.initErr !== undefined)
        throw failedPrecondition(`plugin ${type}.${id} is not loaded: ${plugin.initErr.message}`)
      if (type !== taskRuntime.type || id !== taskRuntime.id)
        throw unimplemented(`plugin ${type}.${id} has no further information`)
      const { runtimePath, options: runtimeOptions } = runtimeRequest(options)
      const { info } = await deps.tasks.runtimeInfo({ runtimePath, options: runtimeOptions }, call)
      return { plugin, extra: info }
    },
  }
}

function runtimeRequest({ typeUrl, value }: Any): RuntimeRequest {
  const name = typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
  if (name !== 'containerd.types.RuntimeRequest')
    throw invalidArgument(`options of a runtime must be a containerd.types.RuntimeRequest, not "${typeUrl}"`)
  return RuntimeRequest.decode(value)
}
