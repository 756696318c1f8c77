export { createAttachments } from './attachments.ts'
export { bridgedTasks } from './bridged-tasks.ts'
export { type Bridge, type Bridges, createBridges, type Stdio } from './bridges.ts'
export { createStreamsService } from './streams-service.ts'
