import { createRegistryClient, dockerConfigCredentials, type RegistryClient } from '@flotilla/registry'
import type { Host } from './part.ts'

/** The way to registries as the configuration has it; it goes with the host. */
export function registryClient({ config, logger, own }: Pick<Host, 'config' | 'logger' | 'own'>): RegistryClient {
  const { configPath, dockerConfig, maxDownloads } = config.registry
  return own(
    createRegistryClient({
      hostsDir: configPath,
      credentials: dockerConfig === '' ? [] : [dockerConfigCredentials(dockerConfig)],
      maxDownloads,
      logger,
      proxyEnv: process.env,
    }),
  )
}
