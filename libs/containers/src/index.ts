export { nodeLabel } from './placement.ts'
export { type ContainersDeps, createContainersService } from './service.ts'
