"""Writes Keras models as ONNX files by `model.export`, with the logits that Keras computes.

    python onnx_exports_keras.py FOLDER

The interpreter has tensorflow-cpu 2.21.0, keras 3.15.1, onnx 1.22.0, protobuf 7.36.2, numpy 2.4.6 and tf2onnx 1.17.0,
the last installed without its dependencies, because it asks for protobuf 3. On TensorFlow, Keras exports by tf2onnx.
The files NAME.keras.onnx in the folder onnx_exports were written by it; logits.keras.npz has images, channels first,
and the logits of each model.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers


def residual():
    """Two residual blocks, the second with a projection; normalization before and after convolutions."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for number, (channels, stride) in enumerate([(8, 1), (16, 2)]):
        shortcut = x if stride == 1 else layers.Conv2D(channels, 1, stride, name=f"project_{number}")(x)
        y = layers.Conv2D(channels, 3, stride, padding="same", name=f"first_{number}")(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"second_{number}")(y)
        y = layers.BatchNormalization(scale=False)(y)
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.BatchNormalization(name="last_norm")(x)
    return keras.Model(image, layers.Dense(5, name="classes")(layers.GlobalAveragePooling2D()(x)))


def excited():
    """Scaled pixels, squeeze and excitation by dense layers and by convolutions, a softmax at the end."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.Conv2D(8, 5, 2, activation="swish")(x)
    gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(gate))
    x = layers.Multiply()([x, gate])
    x = layers.Conv2D(8, 3, padding="same", activation="leaky_relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="tanh")(gate))
    x = layers.Dropout(0.3)(layers.GlobalMaxPooling2D()(x * gate))
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def separable():
    """Depthwise convolutions with padding "same" at stride 2 on sides of even and odd length, ReLU6, a narrow end."""
    image = keras.Input((17, 16, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False)(x)
    x = shortcut = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Activation("hard_swish")(layers.Conv2D(24, 1)(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.Add()([layers.Conv2D(8, 1, use_bias=False)(x), shortcut])
    x = layers.SeparableConv2D(8, 3, padding="same", activation="elu")(layers.ZeroPadding2D(((0, 1), (1, 0)))(x))
    x = layers.PReLU(shared_axes=[1, 2])(x)
    return keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))


def concatenated():
    """A dense block, and average pools whose padding does not count."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)
    for channels in (4, 4):
        y = layers.ReLU()(layers.BatchNormalization(epsilon=1.001e-5)(x))
        y = layers.Conv2D(8, 1, use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization(epsilon=1.001e-5)(y))
        x = layers.Concatenate()([x, layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)])
    x = layers.AveragePooling2D(3, 2, padding="same")(layers.Conv2D(8, 1, use_bias=False)(x))
    x = layers.Concatenate()([layers.MaxPooling2D(2, 1, padding="same")(x), layers.AveragePooling2D(2, 1, "same")(x)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(4, 3, dilation_rate=2, activation="softplus")(x)
    x = layers.BatchNormalization()(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(5, use_bias=False)(layers.Dropout(0.5)(x)))


def gray():
    """LeNet on images of one channel, which tf2onnx moves by a Reshape."""
    image = keras.Input((14, 14, 1), name="image")
    x = layers.Conv2D(4, 3, activation="tanh")(image)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(6, 3, activation="sigmoid")(x)
    x = layers.Dense(12, activation="relu")(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def tanh_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def channels_last():
    """Layers on the channels of each pixel, as in ConvNeXt: layer normalization, dense layers, GELU."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(8, 4, 4)(image))
    y = layers.LayerNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    y = layers.Dense(8)(layers.Activation(tanh_gelu)(layers.Dense(16)(y)))
    x = layers.GroupNormalization(4)(layers.Add()([x, y]))
    x = layers.Activation("selu")(x)
    return keras.Model(image, layers.Dense(5)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))))


MODELS = {
    "residual": residual,
    "excited": excited,
    "separable": separable,
    "concatenated": concatenated,
    "gray": gray,
    "channels_last": channels_last,
}


def drawn(weight, random):
    """Values of an array: of a variance and a gamma positive, of a kernel by the number of its inputs."""
    if weight.name in ("gamma", "moving_variance"):
        return random.uniform(0.5, 2, weight.shape)
    scale = np.prod(weight.shape[:-1]) ** -0.5 if "kernel" in weight.name else 1
    return random.normal(0, scale, weight.shape)


def main(folder):
    random = np.random.default_rng(0)
    found = {}
    for name, make in MODELS.items():
        keras.utils.clear_session()
        model = make()
        for weight in model.weights:
            if weight.name != "seed_generator_state":
                weight.assign(drawn(weight, random))
        images = random.uniform(0, 255 if name == "excited" else 1, (2, *model.input_shape[1:])).astype(np.float32)
        logits = np.asarray(model(images, training=False))  # Keras exports no model that was never called
        model.export(folder / f"{name}.keras.onnx", format="onnx", verbose=False)
        found |= {f"{name}.images": np.moveaxis(images, -1, 1), f"{name}.logits": logits}
    np.savez(folder / "logits.keras.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
