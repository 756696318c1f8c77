import { createRegistryClient, dockerConfigCredentials, type RegistryClient } from '@flotilla/registry'
import type { Host } from './part.ts'

/** The way to registries as the configuration has it at each use; it goes with the host. */
export function registryClient({ config, logger, own }: Pick<Host, 'config' | 'logger' | 'own'>): RegistryClient {
  const { registry } = config
  return own(
    createRegistryClient({
      get hostsDir() {
        return registry.configPath
      },
      get credentials() {
        return registry.dockerConfig === '' ? [] : [dockerConfigCredentials(registry.dockerConfig)]
      },
      get maxDownloads() {
        return registry.maxDownloads
      },
      logger,
      proxyEnv: process.env,
    }),
  )
}
