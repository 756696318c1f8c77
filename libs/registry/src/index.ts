export {
  createRegistryClient,
  type RegistryClient,
  type RegistryClientOptions,
  type RepositoryOptions,
} from './client.ts'
export type { Credential, CredentialSource } from './credential.ts'
export { maxManifestSize } from './descriptor.ts'
export { dockerConfigCredentials } from './docker-config.ts'
export { isLoopback, parseReference, type Reference } from './reference.ts'
export type { FetchOptions, PushOptions, PushResult, Repository } from './repository.ts'
export { mountSources, sourceLabels } from './source-label.ts'
export type { Transcript } from './transcript.ts'
