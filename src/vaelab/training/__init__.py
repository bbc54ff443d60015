"""How a model is trained and measured: assembly from config, LightningModule, callbacks, loggers, fit."""
