import { clientOf, connect, type ServiceDefinition, type ServiceOf } from '@flotilla/rpc'
import type { Host } from './part.ts'

/** A service of another program, at the address of a proxy plugin; closed with the process. */
export function pluginClient<D extends ServiceDefinition>(
  { own }: Pick<Host, 'own'>,
  definition: D,
  { address }: { readonly address: string },
): ServiceOf<D> {
  const channel = connect(address)
  own({ [Symbol.asyncDispose]: async () => channel.close() })
  return clientOf(definition, channel)
}
