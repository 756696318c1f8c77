export { type Config, ConfigError, defaultFile, loadConfig, type Settings } from './config.ts'
export { type Option, options } from './options.ts'
