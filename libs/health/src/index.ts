export { createHealthService, type HealthService, ServingStatus } from './health.ts'
export { addReflection, createReflectionService, type ReflectionDeps } from './reflection.ts'
